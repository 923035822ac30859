"""The README, the example and the notebook run as they stand, without network."""

from __future__ import annotations

import os
import re
import runpy
import socket
from pathlib import Path
from typing import Any

import nbformat
import pytest
from llama_index.vector_stores.m2m import M2MVectorStore
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

HERE = Path(__file__).parents[1]
REPOSITORY = HERE.parents[1]
NOTEBOOK = REPOSITORY / "notebooks" / "rag_llamaindex.ipynb"

DENY = """
import os, socket
def _denied(*args, **kwargs):
    raise OSError("the network is denied in this test")
socket.socket.connect = socket.getaddrinfo = _denied
os.environ["HF_HUB_OFFLINE"] = "1"
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def denied(*args: Any, **kwargs: Any) -> None:
        raise OSError("the network is denied in this test")

    monkeypatch.setattr(socket.socket, "connect", denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("offline")
def test_the_readme_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    text = (HERE / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    assert len(blocks[0].strip().splitlines()) <= 12
    names: dict[str, Any] = {}
    try:
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    finally:
        for value in names.values():
            if isinstance(value, M2MVectorStore):
                value.close()
    printed = capsys.readouterr().out
    expected = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    assert printed.strip() == "".join(expected).strip()


@pytest.mark.usefixtures("offline")
def test_the_example_runs_and_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    example = REPOSITORY / "examples" / "04_llama_index.py"
    assert len(example.read_text("utf-8").splitlines()) < 60
    runpy.run_path(str(example), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("passages of 8 documents")
    assert "nonlocal" in lines[2]
    assert lines[-1] == "with: ['The with statement was replaced.']"


def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]


def test_the_notebook_has_no_outputs() -> None:
    cells = notebook().cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) > 8
    assert all(not cell.outputs and cell.execution_count is None for cell in code)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(REPOSITORY), str(HERE), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    run = notebook()
    run.cells.insert(0, new_code_cell(DENY))  # type: ignore[no-untyped-call]
    client = NotebookClient(run, timeout=300, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [out for cell in run.cells for out in cell.get("outputs", [])]
    assert outputs
    assert {out.output_type for out in outputs} == {"stream"}
    assert [out.text for out in outputs if out.name != "stdout"] == []
    printed = "".join(out.text for out in outputs)
    assert "nonlocal.txt" in printed
    assert str(tmp_path.parent) not in printed
