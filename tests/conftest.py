"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import fault_table as faults
import pytest

from m2m_rag import Database

fault_table = faults.fault_table

LONG = {
    "test_scifact.py",
    "test_backends.py",
    "test_text100k.py",
    "test_text100k_filters.py",
    "test_ragdocs.py",
    "test_demo.py",
}
"""Files that take minutes: begun last, one of them kept a core busy while the other had nothing."""


def pytest_configure(config):
    config.pluginmanager.register(faults.Collector(), "fault-table")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest; pytest-xdist keeps this order (`--no-loadscope-reorder`)."""
    items.sort(key=lambda item: item.path.name not in LONG)
    faults.note_marks(items)


@pytest.fixture(params=["memory", "disk"])
def database(request, tmp_path):
    """A new database, in memory and on disk."""
    made = Database.in_memory() if request.param == "memory" else Database(tmp_path / "db")
    with made as database:
        yield database


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the repository; a test that needs it skips without."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the data sets are missing: {folder} does not exist")
    return folder
