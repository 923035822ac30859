"""The writer lock within one process: shares are counted right whatever the threads do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading

import filelock
import pytest

from m2m_rag import Database
from m2m_rag.errors import StorageError, WriterLockedError
from m2m_rag.storage import lock
from m2m_rag.storage.lock import WriterLock


def test_threads_of_one_handle_take_one_share(tmp_path):
    for _ in range(20):
        writer = WriterLock(tmp_path, 0.0)
        start = threading.Barrier(8)

        def take(start=start, writer=writer):
            start.wait()
            writer.acquire()

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.release()
        assert tmp_path.resolve() not in lock._held


def test_a_database_that_cannot_be_made_keeps_no_lock(tmp_path):
    (tmp_path / "collections").write_text("a file where a folder is needed")
    with pytest.raises(StorageError, match="failed"):
        Database(tmp_path)
    assert tmp_path.resolve() not in lock._held


def test_waiting_for_one_database_does_not_stop_another(tmp_path):
    busy, free = tmp_path / "busy", tmp_path / "free"
    busy.mkdir()
    free.mkdir()
    with filelock.FileLock(busy / lock.LOCK_FILE):
        waiting = WriterLock(busy, 60.0)
        thread = threading.Thread(target=waiting.acquire)
        thread.start()
        other = WriterLock(free, 0.0)
        other.acquire()
        other.release()
        assert thread.is_alive(), "the other lock was free all the time"
    thread.join()
    waiting.release()


ELSEWHERE = """
import sys
from m2m_rag import Database
try:
    with Database(sys.argv[1]) as database:
        database.open("c").add([[3.0, 3.0]], ids=["child"])
    print("wrote")
except Exception as error:
    print(f"{type(error).__name__}: {error}".encode("unicode_escape").decode())
"""


def elsewhere(path):
    """Say what comes of it when another process writes."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows removes no folder that is in use")
def test_the_lock_of_a_removed_folder_does_not_serve_the_new_one(tmp_path):
    path = tmp_path / "db"
    with Database(path) as old:
        gone = old.create("c", 2)
        gone.add([[1, 0]])
        shutil.rmtree(path)
        with Database(path) as new:
            collection = new.create("c", 2)
            collection.add([[0, 1]], ids=["mine"])
            assert elsewhere(path).startswith("WriterLockedError: ")
            for write in (lambda: gone.add([[2, 2]]), lambda: old.create("d"), old.compact):
                with pytest.raises(StorageError, match="removed or replaced"):
                    write()
            old.close()
            assert elsewhere(path).startswith("WriterLockedError: "), "the new one has its own"
            assert collection.ids() == ["mine"]
            assert new.list() == ["c"]
        assert elsewhere(path) == "wrote"
    assert path.resolve() not in lock._held


@pytest.mark.skipif(sys.platform == "win32", reason="Windows moves no folder that is in use")
def test_nothing_is_written_to_a_folder_that_was_moved_away(tmp_path):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 2)
        shutil.move(tmp_path / "db", tmp_path / "moved")
        with pytest.raises(StorageError, match="removed or replaced"):
            collection.add([[1, 0]])
    with Database(tmp_path / "moved") as database:
        assert database.open("c").count() == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"pid": 7, "host": "there"}, "process 7 on there."),
        ({"pid": 7, "host": "a\n\x1b[31mb"}, "process 7 on a\\n\\x1b[31mb."),
        ({"pid": 7, "host": "\ud800"}, "process 7 on \\ud800."),
        ({"pid": 7, "host": "h" * 2000}, "another process."),
        ({"pid": "7\n\x1b[31m", "host": "there"}, "another process."),
        ([1], "another process."),
        ("[" * 200_000, "another process."),
        ("[" * 1000, "another process."),
        (b"\xff\xfe", "another process."),
    ],
)
def test_who_holds_the_lock_is_told_whatever_stands_there(tmp_path, content, said):
    if isinstance(content, (dict, list)):
        content = json.dumps(content)
    with filelock.FileLock(tmp_path / lock.LOCK_FILE):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / lock.HOLDER_FILE).write_bytes(data)
        with pytest.raises(WriterLockedError) as caught:
            WriterLock(tmp_path, 0.0).acquire()
    assert f"is being written by {said} One process" in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pipes in folders")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_who_holds_the_lock_is_read_from_a_plain_file_only(tmp_path, kind):
    (tmp_path / "secret").write_text('{"pid": 7, "host": "SECRET"}')
    with Database(tmp_path / "db") as database:
        database.create("c", 2)
        holder = tmp_path / "db" / lock.HOLDER_FILE
        holder.unlink()
        if kind == "link":
            holder.symlink_to(tmp_path / "secret")
        elif kind == "pipe":
            os.mkfifo(holder)
        elif kind == "folder":
            holder.mkdir()
        assert "is being written by another process. One" in elsewhere(tmp_path / "db")
