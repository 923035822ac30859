"""The writer lock: one writing process per database, released by the operating system.

The lock is the file ``LOCK``, held through `filelock` (flock on POSIX, LockFileEx on Windows), so
it vanishes with its process, however that ends. ``LOCK.holder`` says who holds it, for the error
message only. Handles of one process share the lock; a forked child does not inherit it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from m2m_rag.errors import StorageError, WriterLockedError
from m2m_rag.storage.files import private_file

LOCK_FILE = "LOCK"
HOLDER_FILE = "LOCK.holder"


@dataclass
class _Held:
    """One lock that this process holds, and how many handles use it."""

    lock: filelock.BaseFileLock
    pid: int = field(default_factory=os.getpid)
    users: int = 0


_held: dict[Path, _Held] = {}
"""The locks of this process by real path: a lock belongs to a process, so it is kept here."""
_guard = threading.Lock()


class WriterLock:
    """A handle's share of its database's writer lock."""

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._folder = folder.resolve()
        self._timeout_s = timeout_s
        self._pid = 0

    def acquire(self) -> None:
        """Take the lock, or keep it; wait up to the handle's timeout.

        Raises
        ------
        WriterLockedError
            Another process holds it.
        """
        if self._pid == os.getpid():
            return
        with _guard:
            held = _held.get(self._folder)
            if held is None or held.pid != os.getpid():
                held = _held[self._folder] = _Held(self._take())
            held.users += 1
        self._pid = os.getpid()

    def release(self) -> None:
        """Give up this handle's share; the last one frees the lock."""
        if self._pid != os.getpid():
            return
        self._pid = 0
        with _guard:
            held = _held[self._folder]
            held.users -= 1
            if held.users == 0:
                del _held[self._folder]
                held.lock.release()

    def _take(self) -> filelock.BaseFileLock:
        lock = filelock.FileLock(self._folder / LOCK_FILE, mode=0o600, thread_local=False)
        try:
            lock.acquire(timeout=self._timeout_s)
        except filelock.Timeout:
            raise WriterLockedError(
                f"database {self._folder} is being written by {self._holder()}. One process "
                "writes at a time, any number may read: close the other writer, or wait with "
                "Database(path, lock_timeout_s=...)."
            ) from None
        except OSError as error:
            raise StorageError(
                f"database {self._folder} cannot be locked for writing ({error})."
            ) from error
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since_s": time.time()}
        private_file(self._folder / HOLDER_FILE)
        (self._folder / HOLDER_FILE).write_text(json.dumps(holder), encoding="utf-8")
        return lock

    def _holder(self) -> str:
        try:
            holder = json.loads((self._folder / HOLDER_FILE).read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
