"""What survives a fork: our own locks, and the one under which Numba compiles.

A forked child has only the thread that forked, so a lock that another thread held at that moment
would stay held in the child for ever. What these locks guard grows by whole steps (an entry of a
dictionary, an array put in place of another), so the child may go on with it as it found it.

What a compiler leaves half done is of no use to a child, so a fork waits for Numba's lock instead,
and both sides give it back: else a child hangs at its first kernel when another thread compiled.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from abc import ABC, abstractmethod
from typing import Any


class ForkSafe(ABC):
    """A thing that a forked child finds as if nobody used it."""

    def __init__(self) -> None:
        _renewed.add(self)

    @abstractmethod
    def _renew(self) -> None:
        """In the child: forget the threads that are gone."""


class ForkSafeLock(type(threading.RLock())):  # type: ignore[misc]
    """A re-entrant lock, used by ``with``, that a forked child finds free.

    Entered and left in C: a Python method could be interrupted when it has the lock and ``with``
    does not know yet, and other threads would wait for ever.
    """

    def __init__(self) -> None:
        _renewed.add(self)

    def _renew(self) -> None:
        self._at_fork_reinit()


_renewed: weakref.WeakSet[ForkSafe | ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:
    for thing in _renewed:
        thing._renew()


_compiler_locks: list[Any] = []


def _hold_compiler() -> None:
    module = sys.modules.get("numba.core.compiler_lock")
    if module is not None:
        module.global_compiler_lock.acquire()
        _compiler_locks.append(module.global_compiler_lock)


def _release_compiler() -> None:
    if _compiler_locks:
        _compiler_locks.pop().release()


def _after_in_child() -> None:
    _renew_all()
    _release_compiler()


if hasattr(os, "register_at_fork"):
    # The first to be registered is the last to be called before a fork: those who compile in the
    # middle of a search have been waited for by then (`m2m_rag.storage.fork_gate`).
    os.register_at_fork(
        before=_hold_compiler, after_in_parent=_release_compiler, after_in_child=_after_in_child
    )
