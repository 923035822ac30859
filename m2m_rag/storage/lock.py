"""The writer lock: one writing process per database, released by the operating system.

The lock is the file ``LOCK``, held through `filelock` (flock on POSIX, LockFileEx on Windows), so
it vanishes with its process, however that ends. ``LOCK.holder`` says who holds it, for the error
message only. Handles of one process share the lock; a forked child does not inherit it: filelock
closes the child's descriptor (from 3.30 on; before, children of a killed writer kept its lock).
"""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from m2m_rag._forking import ForkSafeLock
from m2m_rag.errors import ReadOnlyError, SyncError, WriterLockedError
from m2m_rag.storage.files import os_errors, private_file
from m2m_rag.storage.plain import refuse_link

LOCK_FILE = "LOCK"
HOLDER_FILE = "LOCK.holder"
POLL_S = 0.02
"""Between two tries to take the lock from another process."""


@dataclass
class _Held:
    """One lock that this process holds, and how many handles use it."""

    lock: filelock.BaseFileLock
    pid: int = field(default_factory=os.getpid)
    users: int = 0
    failure: SyncError | None = None
    """Why nothing more may be written until every handle was closed."""


_held: dict[Path, _Held] = {}
"""The locks of this process by real path: a lock belongs to a process, so it is kept here."""
_guard = ForkSafeLock()


class WriterLock:
    """A handle's share of its database's writer lock."""

    def __init__(self, folder: Path, timeout_s: float) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._timeout_s = timeout_s
        self._pid = 0

    def acquire(self) -> None:
        """Take the lock, or keep it; wait up to the handle's timeout.

        Raises
        ------
        WriterLockedError
            Another process holds it.
        ReadOnlyError
            `stop` was called.
        """
        deadline = time.monotonic() + self._timeout_s
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise WriterLockedError(
                    f"database {self._folder} is being written by {self._holder()}. One process "
                    "writes at a time, any number may read: close the other writer, or wait with "
                    "Database(path, lock_timeout_s=...)."
                )
            time.sleep(POLL_S)
        failure = _held[self._folder].failure
        if failure is not None:
            raise ReadOnlyError(
                f"database {self._folder} takes no more writes, because one could not be put on "
                f"disk ({failure}). What was acknowledged is there. Close the database and open "
                "it again."
            )

    def stop(self, failure: SyncError) -> None:
        """Refuse to write from now on, until the last handle has released the lock.

        After a failed sync the system may have dropped the written pages and call the next sync a
        success, so nothing that is written then could be acknowledged.
        """
        with _guard:
            if self._pid == os.getpid():
                _held[self._folder].failure = failure

    def try_acquire(self) -> bool:
        """Take the lock, or keep it, when no other process holds it; return whether it is ours."""
        with _guard:
            if self._pid != os.getpid():
                held = _held.get(self._folder)
                if held is None or held.pid != os.getpid():
                    lock = self._take()
                    if lock is None:
                        return False
                    held = _held[self._folder] = _Held(lock)
                held.users += 1
                self._pid = os.getpid()
            return True

    def release(self) -> None:
        """Give up this handle's share; the last one frees the lock."""
        with _guard:
            if self._pid != os.getpid():
                return
            self._pid = 0
            held = _held[self._folder]
            held.users -= 1
            if held.users == 0:
                del _held[self._folder]
                held.lock.release()

    def _take(self) -> filelock.BaseFileLock | None:
        with os_errors(self._folder / LOCK_FILE) as path:
            refuse_link(path)
            lock = filelock.FileLock(path, mode=0o600, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                return None
            try:
                holder = {"pid": os.getpid(), "host": socket.gethostname(), "since_s": time.time()}
                private_file(self._folder / HOLDER_FILE, json.dumps(holder).encode())
            except BaseException:
                lock.release()
                raise
        return lock

    def _holder(self) -> str:
        try:
            holder = json.loads((self._folder / HOLDER_FILE).read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"
