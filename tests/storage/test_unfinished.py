"""Folders that are made aside and renamed: what a killed process left goes, all else stays."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

import pytest

from m2m_rag import Database
from m2m_rag.errors import StorageError
from m2m_rag.storage import unfinished
from m2m_rag.storage.unfinished import new_folder, remove_abandoned

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows locks no folders")


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c", 2).add([[1, 0]])
        database.backup(tmp_path / "backup")
    return tmp_path / "backup"


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_what_was_left_goes_with_the_next_backup(path, tmp_path):
    room = tmp_path / "room"
    for name in ("b.00000000.new", "b.0123abcd.new", "other.0123abcd.new"):
        shutil.copytree(path, room / name)
    (room / "b.11111111.new").mkdir()
    with Database(path) as database:
        database.backup(room / "b")
    assert names(room) == ["b", "other.0123abcd.new"]
    Database.restore(room / "b", room / "other").close()
    assert names(room) == ["b", "other"]


def test_a_folder_that_more_was_written_to_stays(path, tmp_path):
    """A database that is in use; a backup with a file in a collection's folder."""
    room = tmp_path / "room"
    shutil.copytree(path, room / "b.0123abcd.new")
    (catalog,) = (room / "b.0123abcd.new").rglob("catalog.sqlite")
    catalog.with_name("letter.txt").write_text("somebody else's")
    with Database(room / "b.00000000.new") as database:
        collection = database.create("c", 2)
        assert remove_abandoned(room / "b") == []
        collection.add([[1, 0]], ids=["x"])
        assert collection.ids() == ["x"]
    assert names(room) == ["b.00000000.new", "b.0123abcd.new"]


def test_only_folders_of_ours_go(path, tmp_path):
    room = tmp_path / "room"
    for name in ("b.0123abc.new", "b.0123ABCD.new", "bb.0123abcd.new", "b.0123abcd.newer", "xb"):
        shutil.copytree(path, room / name)
    (room / "b.00000001.new").write_text("a file")
    (room / "b.00000002.new").symlink_to(path)
    shutil.copytree(path, room / "b.00000003.new")
    (room / "b.00000003.new" / "letter.txt").write_text("somebody else's")
    shutil.copytree(path, room / "b.00000004.new")
    (room / "b.00000004.new" / "collections" / "photos").mkdir()
    before = names(room)
    with new_folder(room / "b"):
        pass
    assert names(room) == sorted([*before, "b"])
    with Database(path) as database:
        assert database.verify().is_sound


def test_one_that_is_being_made_stays(tmp_path):
    making = new_folder(tmp_path / "b")
    first = making.__enter__()
    assert remove_abandoned(tmp_path / "b") == []
    with new_folder(tmp_path / "b") as second:
        assert names(tmp_path) == sorted([first.name, second.name])
    with pytest.raises(StorageError, match="exists by now"):
        making.__exit__(None, None, None)
    assert names(tmp_path) == ["b"]


def test_one_that_a_running_process_makes_stays_until_it_ends(tmp_path):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with new_folder(tmp_path / "b"):
            os.write(writer, b"x")
            time.sleep(60)
            os._exit(1)
    try:
        assert os.read(reader, 1) == b"x"
        assert remove_abandoned(tmp_path / "b") == []
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)
    (left,) = tmp_path.iterdir()
    assert remove_abandoned(tmp_path / "b") == [left]
    assert names(tmp_path) == []


def test_one_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, taken = unfinished._lock, []

    def too_late(folder, *, waits):
        descriptor = lock(folder, waits=waits)
        if not taken:
            taken.append(folder)
            folder.rmdir()
        return descriptor

    monkeypatch.setattr(unfinished, "_lock", too_late)
    with new_folder(tmp_path / "b") as folder:
        assert folder.is_dir()
        assert folder != taken[0]
    assert names(tmp_path) == ["b"]


def test_without_locks_nothing_is_removed(tmp_path, monkeypatch):
    import fcntl

    def refuse(descriptor, operation):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / "b.0123abcd.new"
    left.mkdir()
    with new_folder(tmp_path / "b"):
        pass
    assert names(tmp_path) == ["b", left.name]
