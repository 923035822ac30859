"""Who uses a thing: each for as long as it keeps its token.

An interrupt may come between any two steps of Python, also between taking a thing and the ``try``
that would give it back. What is counted there by a number stays counted for ever: after 396
interrupts of a reading thread, 396 forks of other threads would have waited in vain. A token that
is lost ends with the frame that held it.
"""

from __future__ import annotations

import threading
import weakref


class Token:
    """One use, by one thread. It ends with the last reference to it, or with `Presence.leave`."""

    __slots__ = ("__weakref__", "thread")

    def __init__(self, thread: int) -> None:
        self.thread = thread


class Presence:
    """The uses that have not ended. Every step is one call of C, so no lock is needed."""

    def __init__(self) -> None:
        self._tokens: set[weakref.ref[Token]] = set()

    def enter(self, thread: int | None = None) -> Token:
        """Begin a use, by the calling thread or for another one; keep what is returned."""
        token = Token(threading.get_ident() if thread is None else thread)
        self._tokens.add(weakref.ref(token, self._tokens.discard))
        return token

    def leave(self, token: Token) -> None:
        """End a use; another thread may do so, and again is fine."""
        self._tokens.discard(weakref.ref(token))

    def threads(self) -> set[int]:
        """Return the threads whose uses have not ended."""
        tokens = [reference() for reference in self._tokens.copy()]
        return {token.thread for token in tokens if token is not None}

    def keep(self, thread: int) -> None:
        """Forget the uses of all other threads."""
        for reference in self._tokens.copy():
            token = reference()
            if token is None or token.thread != thread:
                self._tokens.discard(reference)
