"""A lock that survives a fork.

A forked child has only the thread that forked, so a lock that another thread held at that moment
would stay held in the child for ever. What these locks guard grows by whole steps (an entry of a
dictionary, an array put in place of another), so the child may go on with it as it found it.
"""

from __future__ import annotations

import os
import threading
import weakref


class ForkSafeLock:
    """A re-entrant lock, used by ``with``, that a forked child finds free."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        """Wait for the lock and take it."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_locks() -> None:
    for lock in _locks:
        lock._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
