"""A file that is not ours, or of a newer version, is refused (for damage see tests/faults)."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, FormatError, StorageError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "db"
    with Database(path) as database:
        collection = database.create("c")
        rng = np.random.default_rng(0)
        collection.add(
            rng.normal(size=(400, 8)),
            ids=[f"id-{i}" for i in range(400)],
            texts=[f"text number {i}" for i in range(400)],
            metadatas=[{"i": i} for i in range(400)],
        )
    return path


def answers(path):
    with Database(path) as database:
        collection = database.open("c")
        records = [record[:4] for record in collection.get()]
        words = [hit.id for hit in collection.search(text="number 7", k=500)]
        return records, words, collection.search(np.ones(8), 50), collection.ids({"i": {"$lt": 30}})


def test_a_newer_format_is_refused(folder):
    (catalog,) = folder.rglob("catalog.sqlite")
    for path in (catalog, folder / "database.sqlite"):
        good = path.read_bytes()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises((FormatError, CorruptError)):
            answers(folder)
        path.write_bytes(good)
    answers(folder)


def test_a_registry_that_is_gone_is_not_made_anew(folder):
    """An empty one in its place would hide every collection."""
    (folder / "database.sqlite").unlink()
    for read_only in (False, True):
        with pytest.raises(StorageError):
            Database(folder, read_only=read_only)
    with pytest.raises(CorruptError, match=r"database\.sqlite is missing"):
        Database(folder)
    assert not (folder / "database.sqlite").exists()


def test_another_programs_file_is_refused(folder):
    (catalog,) = folder.rglob("catalog.sqlite")
    catalog.unlink()
    connection = sqlite3.connect(catalog)
    connection.execute("CREATE TABLE t(x)")
    connection.close()
    with pytest.raises(FormatError, match="not one of m2m_rag"):
        answers(folder)
    catalog.write_bytes(b"not a database at all" * 300)
    with pytest.raises(FormatError, match="not a database file"):
        answers(folder)
    catalog.unlink()
    with pytest.raises(CorruptError, match=r"catalog\.sqlite is missing"):
        answers(folder)
