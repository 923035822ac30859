"""What is documented runs as it stands, without network: READMEs, examples, notebooks, doctests."""

from __future__ import annotations

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from network import DENY_NETWORK

import m2m_rag

ROOT = Path(__file__).resolve().parents[1]
READMES = [
    ROOT / "README.md",
    ROOT / "integrations" / "langchain" / "README.md",
    ROOT / "integrations" / "llama_index" / "README.md",
]
EXAMPLES = {
    "01_quickstart.py": ["bread", "kitchen since 2022: ['bread']", "left: {'tea': 2024"],
    "02_ingest_folder.py": ["6 added", "6 skipped", "1 updated, 1 deleted, 4 skipped", "break.rst"],
    "03_langchain.py": ["8 added", "lambda.txt", "filtered:", "The answer is 42."],
    "04_llama_index.py": [
        "passages of 8 documents",
        "nonlocal",
        "The with statement was replaced.",
    ],
    "05_reader_beside_writer.py": ["the best is nearest", "a second writer is told", "process "],
}
NOTEBOOKS = ["rag_langchain.ipynb", "rag_llamaindex.ipynb"]
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(m2m_rag.__path__, "m2m_rag.")
    if not name.startswith("m2m_rag.cli")
]


def run(source, folder):
    done = subprocess.run(
        [sys.executable, "-c", DENY_NETWORK + source],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_network_is_really_denied(tmp_path):
    with pytest.raises(AssertionError, match="the network is denied"):
        run("import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)", tmp_path)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.parent.name)
def test_a_readme_runs_and_prints_what_it_says(path, tmp_path):
    text = path.read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    printed = run("\n".join(blocks), tmp_path)
    promised = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    if promised:
        assert printed.split() == "".join(promised).split()
    assert printed.strip()


def test_the_readmes_first_blocks_are_ten_lines():
    for path in READMES:
        blocks = re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
        short = blocks[:2] if path.parent == ROOT else blocks[:1]
        assert all(len(block.strip().splitlines()) <= 12 for block in short), path


def test_every_example_is_listed_and_short():
    found = sorted((ROOT / "examples").glob("*.py"))
    assert [path.name for path in found] == list(EXAMPLES)
    assert all(len(path.read_text("utf-8").splitlines()) < 60 for path in found)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name, tmp_path):
    printed = run((ROOT / "examples" / name).read_text("utf-8"), tmp_path)
    for expected in EXAMPLES[name]:
        assert expected in printed


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_is_stored_without_outputs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(DENY_NETWORK))
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert {output.output_type for output in outputs} <= {"stream", "execute_result"}
    assert "Traceback" not in printed
    assert str(tmp_path) not in printed
    assert len(printed) > 500


@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_no_absolute_path_and_no_key_in_the_project():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    suspicious = re.compile(r"(/home/\w|/root/|/work/|C:\\\\Users|sk-[A-Za-z0-9]{20})")
    for name in listed.stdout.split():
        if name == "tests/test_documentation.py" or not os.path.exists(ROOT / name):
            continue
        found = suspicious.search((ROOT / name).read_text("utf-8", errors="ignore"))
        assert found is None, f"{name}: {found.group()}"
