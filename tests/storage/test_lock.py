"""The writer lock within one process: shares are counted right whatever the threads do."""

from __future__ import annotations

import threading

import pytest

from m2m_rag import Database
from m2m_rag.errors import StorageError
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
    import filelock

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
