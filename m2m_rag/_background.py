"""A thread that does one thing, and whose end is known whatever it dies of.

`threading.Thread.start` waits until the new thread has begun, and waits for ever when that thread
died before, of too little memory: the fault programme hung so, with 5 MB left. This one is told of
by a token that ends with the thread's last step.
"""

from __future__ import annotations

import _thread
import os
import time
import weakref
from collections.abc import Callable

from m2m_rag._presence import Token

POLL_S = 0.001


class Background:
    """A thread at work, which does not keep the interpreter alive.

    Parameters
    ----------
    work
        What it does. An exception of it is reported by `sys.unraisablehook`.

    Raises
    ------
    RuntimeError
        There are too many threads, or the interpreter ends.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        token = Token(0)
        self._token = weakref.ref(token)
        self._pid = os.getpid()
        _thread.start_new_thread(_run, (token, work))

    def is_alive(self) -> bool:
        """Tell whether it is still at work; in a forked child none is."""
        return self._token() is not None and self._pid == os.getpid()

    def is_current(self) -> bool:
        """Tell whether it is the calling thread."""
        token = self._token()
        return token is not None and token.thread == _thread.get_ident()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for its end, or for so long."""
        end_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self.is_alive() and (end_s is None or time.monotonic() < end_s):
            time.sleep(POLL_S)


def _run(token: Token, work: Callable[[], None]) -> None:
    token.thread = _thread.get_ident()
    try:
        work()
    finally:
        del token  # which a traceback that somebody keeps would hold
