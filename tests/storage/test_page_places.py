"""A catalog's pages are where they were when it was closed, or opening says so."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, StorageError
from m2m_rag.storage import compacting, page_places
from m2m_rag.storage.acknowledged import COMMIT_FILE
from m2m_rag.storage.page_places import PLACES_FILE, check_places
from m2m_rag.storage.schema import KIND
from m2m_rag.storage.sqlite import open_database

N = 2000
PAGE = 4096


def filled(path, **settings):
    with Database(path, **settings) as database:
        database.create("c").add(
            np.eye(N, 8) + 1,
            ids=[f"id{i}" for i in range(N)],
            texts=[f"text {i}" for i in range(N)],
        )
    return path


@pytest.fixture
def path(tmp_path):
    return filled(tmp_path / "db")


def catalog_of(path):
    (found,) = path.rglob("catalog.sqlite")
    return found


def exchange(catalog, a, b):
    data = bytearray(catalog.read_bytes())
    first, second = data[a * PAGE : (a + 1) * PAGE], data[b * PAGE : (b + 1) * PAGE]
    data[a * PAGE : (a + 1) * PAGE], data[b * PAGE : (b + 1) * PAGE] = second, first
    catalog.write_bytes(data)


def count(path):
    with Database(path) as database:
        return len(database.open("c"))


def test_exchanged_pages_are_noticed_when_opened_and_verified(path):
    catalog = catalog_of(path)
    n_pages = catalog.stat().st_size // PAGE
    exchange(catalog, n_pages - 2, n_pages - 1)
    with pytest.raises(CorruptError, match=f"not in the order.*delete .*{PLACES_FILE}"):
        count(path)
    with Database(path) as database:
        assert any("not in the order" in found.problem for found in database.verify().lost)
    catalog.with_name(PLACES_FILE).unlink()
    assert count(path) == N


def test_large_catalogs_are_compared_when_verified_only(path, monkeypatch):
    monkeypatch.setattr("m2m_rag.storage.catalog.MOST_BYTES", 10 * PAGE)
    catalog = catalog_of(path)
    n_pages = catalog.stat().st_size // PAGE
    exchange(catalog, n_pages - 2, n_pages - 1)
    with Database(path) as database:
        database.open("c")
        assert not database.verify().is_sound


def test_several_reads_make_one_digest(path, monkeypatch):
    catalog_of(path).with_name(PLACES_FILE).unlink()
    monkeypatch.setattr(page_places, "_STEP_BYTES", 2 * PAGE)
    with Database(path) as database:
        database.open("c").add(np.ones((1, 8)), ids=["more"])
    assert catalog_of(path).with_name(PLACES_FILE).exists()
    assert count(path) == N + 1


def test_a_note_of_an_older_commit_is_void(path):
    note = catalog_of(path).with_name(PLACES_FILE)
    before = note.read_bytes()
    with Database(path) as database:
        database.open("c").add(np.ones((1, 8)), ids=["more"])
    assert note.read_bytes() != before
    note.write_bytes(before)
    assert count(path) == N + 1


def test_a_file_written_anew_by_the_same_commit_makes_the_note_void(path):
    with Database(path) as database:
        database.open("c").delete([f"id{i}" for i in range(0, N, 2)])
    note = catalog_of(path).with_name(PLACES_FILE)
    before = note.read_bytes()
    compacting.shrink(note.parent)
    assert note.read_bytes() == before
    assert count(path) == N // 2


def test_a_reader_keeps_the_note_from_being_written(path):
    catalog_of(path).with_name(PLACES_FILE).unlink()
    with Database(path, read_only=True) as reader:
        records = iter(reader.open("c"))
        next(records)
        with Database(path) as writer:
            writer.open("c").add(np.ones((1, 8)), ids=["more"])
        assert not catalog_of(path).with_name(PLACES_FILE).exists()
        assert sum(1 for _ in records) == N - 1
    assert count(path) == N + 1


def test_an_older_copy_that_comes_to_the_same_commit_again_is_sound(path):
    """It was put back as the message about `COMMIT_FILE` says."""
    catalog = catalog_of(path)
    before = catalog.read_bytes()
    with Database(path) as database:
        database.open("c").add(np.ones((1, 8)), ids=["more"])
    catalog.write_bytes(before)
    catalog.with_name(COMMIT_FILE).unlink()
    with Database(path, durability="normal") as database:
        database.open("c").add(np.ones((1, 8)), ids=["other"])
    assert count(path) == N + 1


def test_a_file_that_changes_under_a_frozen_connection_is_no_damage(path, monkeypatch):
    """Nothing may be written in the folder, so SQLite's locks keep no writer away."""
    refused, access, digest = [path], os.access, page_places._digest

    def digest_late(*arguments):
        refused.clear()
        with Database(path) as database, monkeypatch.context() as patch:
            patch.setattr(page_places, "_digest", digest)
            database.open("c").update(["id7"], [{"a": 1}])
        return digest(*arguments)

    monkeypatch.setattr(os, "access", lambda *given: not refused and access(*given))
    monkeypatch.setattr(page_places, "_digest", digest_late)
    with (
        pytest.raises(StorageError, match="was changed while it was read.*Try again"),
        Database(path, read_only=True) as database,
    ):
        database.open("c")


@pytest.mark.parametrize("durability", ["normal", "off"])
def test_only_full_durability_notes(tmp_path, durability):
    path = filled(tmp_path / "db", durability=durability)
    assert not catalog_of(path).with_name(PLACES_FILE).exists()


def test_a_process_that_ends_without_closing_leaves_no_false_note(path):
    code = (
        "import os, numpy as np; from m2m_rag import Database\n"
        f"c = Database({str(path)!r}).open('c')\n"
        "c.add(np.ones((1, 8)), ids=['more']); c.flush(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert count(path) == N + 1


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="/proc/locks is Linux's")
def test_comparing_takes_no_lock_away(path):
    def locks():
        return [line for line in Path("/proc/locks").read_text().splitlines() if me in line.split()]

    me, catalog = str(os.getpid()), catalog_of(path)
    with closing(open_database(catalog, KIND)) as one, closing(open_database(catalog, KIND)) as two:
        one.execute("BEGIN").fetchall()
        one.execute("SELECT * FROM state").fetchall()
        before = len(locks())
        check_places(two, catalog)
        assert len(locks()) >= before > 0
