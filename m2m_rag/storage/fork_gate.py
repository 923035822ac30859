"""Forks wait until no thread uses SQLite.

A child that is forked while another thread is inside SQLite inherits SQLite's mutexes locked, and
its first call hangs (one fork in ten with four busy threads); it also inherits an account of file
locks that it does not hold. So whoever uses SQLite passes this gate: a fork closes it, waits for
those inside, and opens it again on both sides. A fork that has waited `WAIT_S` goes on, and its
child refuses to use SQLite.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from m2m_rag._forking import ForkSafeLock
from m2m_rag._presence import Presence, Token
from m2m_rag.errors import StorageError

WAIT_S = 10.0
"""The longest that a fork waits."""
POLL_S = 0.0005


class ForkGate:
    """Knows who is inside, by thread; ``with gate.inside():`` is one way in and out.

    A thread that is inside may enter again, also while a fork waits, and so may the thread that
    forks.
    """

    def __init__(self) -> None:
        self.is_refused = False
        self._present = Presence()
        self._lock = ForkSafeLock()
        self._turn = threading.Lock()
        self._forking = 0
        self._is_late = False

    def enter(self) -> Token:
        """Wait while a fork is under way; return what is to be kept, and what `leave` takes.

        Raises
        ------
        StorageError
            In a child of a fork that could not wait.
        """
        me = threading.get_ident()
        while True:
            if self.is_refused:
                raise StorageError(
                    "this process was forked while a call of another thread used the database for "
                    f"more than {WAIT_S:.0f} s, so SQLite cannot be used in it. Fork when no long "
                    "call is running, or start the process by 'spawn' or 'forkserver'."
                )
            with self._lock:
                if self._forking in (0, me) or me in self._present.threads():
                    return self._present.enter()
            time.sleep(POLL_S)

    @property
    def is_closing(self) -> bool:
        """Whether a fork is under way or waits for those inside."""
        return self._forking != 0

    def admit(self, thread: int) -> Token:
        """Enter for another thread, also while a fork waits: it waits for the caller, too."""
        return self._present.enter(thread)

    def leave(self, token: Token) -> None:
        """Undo one `enter` or `admit`; another thread may do so."""
        self._present.leave(token)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Enter, and leave at the end."""
        token = self.enter()
        try:
            yield
        finally:
            self.leave(token)

    def close(self) -> None:
        """Before a fork: let nobody in, and wait until the other threads are out."""
        self._turn.acquire()
        self._forking = threading.get_ident()
        deadline = time.monotonic() + WAIT_S
        while self._others_are_inside():
            if time.monotonic() > deadline:
                self._is_late = True
                return
            time.sleep(POLL_S)

    def open(self) -> None:
        """After a fork, in the parent."""
        self._forking, self._is_late = 0, False
        self._turn.release()

    def renew(self) -> None:
        """After a fork, in the child: the other threads are gone."""
        self._present.keep(self._forking)
        self._turn = threading.Lock()
        self.is_refused = self.is_refused or self._is_late
        self._forking, self._is_late = 0, False

    def _others_are_inside(self) -> bool:
        with self._lock:
            return bool(self._present.threads() - {self._forking})


GATE = ForkGate()
"""The gate of this process: SQLite's mutexes and its account of locks are the process's, too."""
