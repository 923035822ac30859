"""The writer lock: one writing process per database, released by the operating system.

The lock is the file ``LOCK``, held through `filelock` (flock on POSIX, LockFileEx on Windows), so
it vanishes with its process, however that ends. ``LOCK.holder`` says who holds it, for the error
message only. Handles of one process share the lock; a forked child does not inherit it: filelock
closes the child's descriptor (from 3.30 on; before, children of a killed writer kept its lock).

A lock is one of a file, not of its path: when the folder was removed or replaced while it was open,
the lock says nothing about what stands there now, so it neither serves another handle nor a write.
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
from m2m_rag.errors import ReadOnlyError, StorageError, SyncError, WriterLockedError
from m2m_rag.storage.files import os_errors, private_file
from m2m_rag.storage.plain import read_plain, refuse_link

LOCK_FILE = "LOCK"
HOLDER_FILE = "LOCK.holder"
POLL_S = 0.02
"""Between two tries to take the lock from another process."""
_HOLDER_BYTES = 1024


@dataclass
class _Held:
    """One lock that this process holds, and how many handles use it."""

    lock: filelock.BaseFileLock
    identity: tuple[int, int]
    """Device and inode of the lock's file."""
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
        self._share: _Held | None = None
        """The lock that this handle uses, if it is one of this process."""

    def acquire(self) -> None:
        """Take the lock, or keep it; wait up to the handle's timeout.

        Raises
        ------
        WriterLockedError
            Another process holds it.
        ReadOnlyError
            `stop` was called.
        StorageError
            The folder was removed or replaced.
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
        share = self._share
        failure = None if share is None else share.failure
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
            share = self._present_share()
            if share is not None:
                share.failure = failure

    def try_acquire(self) -> bool:
        """Take the lock, or keep it, when no other process holds it; return whether it is ours."""
        with _guard:
            share = self._present_share()
            if share is not None:
                if share.identity != self._identity():
                    raise StorageError(
                        f"database {self._folder} was removed or replaced while it was open: its "
                        f"{LOCK_FILE} is another one. Nothing was written; close the database and "
                        "open it again."
                    )
                return True
            held = _held.get(self._folder)
            if held is None or held.pid != os.getpid() or held.identity != self._identity():
                held = self._take()
                if held is None:
                    return False
                _held[self._folder] = held
            held.users += 1
            self._share = held
            return True

    def release(self) -> None:
        """Give up this handle's share; the last one frees the lock."""
        with _guard:
            share, self._share = self._present_share(), None
            if share is None:
                return
            share.users -= 1
            if share.users == 0:
                if _held.get(self._folder) is share:
                    del _held[self._folder]
                share.lock.release()

    def _present_share(self) -> _Held | None:
        """Return the lock that this handle uses; None when it has none, or its parent's."""
        share = self._share
        return share if share is not None and share.pid == os.getpid() else None

    def _take(self) -> _Held | None:
        with os_errors(self._folder / LOCK_FILE) as path:
            refuse_link(path)
            lock = filelock.FileLock(path, mode=0o600, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                return None
            try:
                identity = self._identity()
                if identity is None:
                    raise FileNotFoundError(f"{path} was removed at once")
                holder = {"pid": os.getpid(), "host": socket.gethostname(), "since_s": time.time()}
                private_file(self._folder / HOLDER_FILE, json.dumps(holder).encode())
            except BaseException:
                lock.release()
                raise
        return _Held(lock, identity)

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file that stands in the lock's place."""
        try:
            found = os.lstat(self._folder / LOCK_FILE)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _holder(self) -> str:
        """Say who holds the lock, in characters that drive no terminal: anyone may have written."""
        try:
            holder = json.loads(read_plain(self._folder / HOLDER_FILE, _HOLDER_BYTES))
            host = repr(str(holder["host"]))[1:-1]
            return f"process {holder['pid']:d} on {host}"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "another process"
