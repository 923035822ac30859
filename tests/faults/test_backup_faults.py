"""F5: backups and restores that the system refuses: an error of ours, and nothing left of them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_backup

from m2m_rag import Database, _indexing
from m2m_rag.errors import StorageError

SCRIPT = Path(small_backup.__file__)
MOST_CALLS = 60


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A database with a collection that has an index, and one that has none."""
    monkeypatch.setattr(_indexing, "INDEX_FROM", 50)
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 4)
        collection.add(np.random.default_rng(1).normal(size=(60, 4)), texts=["text"] * 60)
        assert collection.wait_for_index()
        database.create("small", 2).add([[1, 0]])
        database.flush()
    return tmp_path / "db"


def files(path):
    return {
        item.relative_to(path): item.read_bytes()
        for item in path.rglob("*")
        if item.is_file() and not item.name.endswith(("-wal", "-shm"))
    }


@pytest.mark.parametrize("call", ["backup", "restore"])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES])
@pytest.mark.parametrize("name", ["fsync", "mkdir", "open", "scandir", "rename"])
def test_calls_that_fail(path, tmp_path, monkeypatch, name, code, call):
    """Each call of one kind fails once; the last round has none left to fail."""
    before, real = files(path), getattr(os, name)
    for failing in range(MOST_CALLS):
        n_calls, error = 0, None

        def fails(*arguments, failing=failing, **named):
            nonlocal n_calls
            n_calls += 1
            if n_calls == failing + 1:
                raise OSError(code, os.strerror(code))
            return real(*arguments, **named)

        with Database(path, read_only=True) as database:
            with monkeypatch.context() as patch:
                patch.setattr(os, name, fails)
                try:
                    if call == "backup":
                        database.backup(tmp_path / "copy")
                    else:
                        Database.restore(path, tmp_path / "copy").close()
                except StorageError as refused:
                    error = refused
        if n_calls <= failing:
            break
        if error is None:  # it was one that may fail
            assert (tmp_path / "copy").exists()
            shutil.rmtree(tmp_path / "copy")
        elif code == errno.ENOSPC and name in ("mkdir", "open"):
            assert "the disk is full" in str(error)
        assert [item.name for item in tmp_path.iterdir()] == ["db"]
    assert 0 < failing < MOST_CALLS - 1
    assert files(path) == before


@pytest.mark.fault("F5", "backups and restores on disks of all sizes below enough")
def test_small_disks(path, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("unshare of util-linux is missing")
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [*small_backup.COMMAND, sys.executable, str(SCRIPT), str(path), str(tmp_path / "disk")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "M2M_BACKEND": "numpy"},
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"this system gives users no namespaces: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    n_full, n_done = map(int, done.stdout.split())
    assert n_full > 10
    assert n_done >= 6


def test_a_folder_in_the_place_of_an_index_is_left_out(path, tmp_path):
    (index,) = path.rglob("*.hrm2")
    index.unlink()
    (index / "inner").mkdir(parents=True)
    with Database(path) as database:
        database.backup(tmp_path / "backup")
    with Database.restore(path, tmp_path / "again") as database:
        assert len(database.open("c").search(np.ones(4), 60)) == 60
    assert list((tmp_path / "backup").rglob("*.hrm2")) == []
    assert (index / "inner").is_dir()


def test_nothing_is_restored_into_the_backup_itself(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    before = files(path)
    for target in (path / "inner", path / "collections" / "inner", tmp_path / "link" / "inner"):
        with pytest.raises(StorageError, match="lies inside"):
            Database.restore(path, target)
    assert files(path) == before
