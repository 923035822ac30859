"""Compiling kernels where nothing may be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import m2m_rag
from m2m_rag.compute.numba_backend import compiling

PROBE = """
import numpy as np
from m2m_rag import Database
with Database.in_memory() as database:
    collection = database.create("c")
    collection.add([[1.0, 0.0]], ids=["x"])
    print(collection.search([1.0, 0.0])[0].id)
"""


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be made read-only on Windows")
def test_kernels_work_without_a_place_for_the_cache(tmp_path):
    copy = tmp_path / "m2m_rag"
    shutil.copytree(
        Path(m2m_rag.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__")
    )
    # A file where a cache folder should be stops even a user who may write everywhere.
    (copy / "compute" / "numba_backend" / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    home = str(tmp_path / "home")
    places = {"HOME": home, "XDG_CACHE_HOME": home, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROBE],
        env={**os.environ, **places},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.stdout, done.returncode) == ("x\n", 0), done.stderr


def test_compiling_is_announced_once_and_only_when_it_happens(tmp_path, caplog):
    compiling.announce("probe", str(tmp_path))
    compiling.announce("probe", str(tmp_path))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "compiling kernels (probe)" in caplog.text
    caplog.clear()
    (tmp_path / "done-1.py311.nbi").touch()
    compiling.announce("done", str(tmp_path))
    assert caplog.records == []
