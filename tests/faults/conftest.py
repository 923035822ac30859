"""Fixtures of the fault programme."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from zygote import Zygote


@pytest.fixture(scope="session")
def zygote():
    """A process that forks children in which faults happen."""
    with Zygote() as zygote:
        yield zygote


@pytest.fixture
def quick(tmp_path):
    """A folder in memory, where the system has one."""
    folder = Path("/dev/shm", f"m2m-{os.getpid()}-{tmp_path.name}")
    if not folder.parent.is_dir():
        folder = tmp_path
    folder.mkdir(exist_ok=True)
    yield folder
    shutil.rmtree(folder)
