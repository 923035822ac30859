"""F6: what may not be written is read; what is missing is made again or named."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

import access
import fault_load
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, StorageError

SEED, N_STEPS = 9, 12


@pytest.fixture
def path(zygote):
    """A closed database in a folder that every user may enter."""
    folder = Path(tempfile.mkdtemp())
    os.chmod(folder, 0o755)
    zygote.run("fault_load:run", str(folder / "db"), SEED, 0, N_STEPS)
    yield folder / "db"
    for found, _, _ in os.walk(folder):
        os.chmod(found, stat.S_IRWXU)
    shutil.rmtree(folder)


@pytest.fixture
def state():
    return fault_load.states(SEED, 0, N_STEPS, {})[-1]


@pytest.mark.parametrize("read_only", [True, False])
def test_a_folder_that_may_not_be_written_is_read(zygote, path, state, fault_table, read_only):
    access.protect(path)
    said = zygote.run("access:use", str(path), read_only)
    assert said[0] == f"read {len(state[fault_load.MAIN])}"
    assert [line.partition(":")[0] for line in said[1:]] == ["ReadOnlyError"] * 4, said
    fault_table.add("F6", f"folder not writable, read_only={read_only}", 4, SEED, wrong=0)


def test_a_log_that_cannot_be_read_is_said(zygote, path):
    """The writer was killed, so SQLite would have to recover, which is writing."""
    child = zygote.start("fault_load:run", str(path), SEED, N_STEPS, 1000)
    child.line()
    child.kill()
    child.lines()
    for shm in path.rglob("*-shm"):
        shm.unlink()
    access.protect(path)
    (said,) = zygote.run("access:use", str(path), False)
    assert "may not be written" in said
    assert "read a copy" in said


def test_a_reader_that_may_not_write_follows_the_writer(zygote, path, state, monkeypatch):
    """What is read without SQLite's locks is looked at again, before and after."""
    from m2m_rag.storage import frozen

    monkeypatch.setattr(frozen.os, "access", lambda path, mode: False)
    with Database(path, read_only=True) as reader:
        monkeypatch.undo()
        assert fault_load.read(reader) == state
        with Database(path) as writer:
            writer.open(fault_load.MAIN).add([[1.0] * fault_load.DIMENSION], ids=["new"])
            assert reader.open(fault_load.MAIN).get(["new"])
        assert reader.open(fault_load.MAIN).get(["new"])


def test_a_change_while_reading_is_an_error(path, monkeypatch):
    from m2m_rag.storage import frozen

    monkeypatch.setattr(frozen.os, "access", lambda path, mode: False)
    with Database(path, read_only=True) as reader:
        records = iter(reader.open(fault_load.MAIN))
        next(records)
        monkeypatch.undo()
        with Database(path) as writer:
            writer.open(fault_load.MAIN).upsert([[1.0] * fault_load.DIMENSION], ids=["x"])
        with pytest.raises(StorageError, match="changed while it was read"):
            list(records)


@pytest.mark.parametrize("pattern", ["database.sqlite", "catalog.sqlite", "*.f32", "vectors"])
def test_a_missing_truth_is_named(path, fault_table, pattern):
    victim = max(path.rglob(pattern), key=lambda found: found.stat().st_size)
    shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
    with pytest.raises(CorruptError, match=f"{victim}.* is missing"), Database(path) as database:
        fault_load.read(database)
    fault_table.add("F6", f"missing {pattern}", 1, SEED, detected=1)


@pytest.mark.parametrize("pattern", ["catalog.commit", "catalog.pages", "LOCK", "LOCK.holder"])
def test_a_missing_note_changes_nothing(path, state, pattern):
    (victim,) = path.rglob(pattern)
    victim.unlink()
    fault_load.check(path, [state])
