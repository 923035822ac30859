"""Long calls that `close` waits for."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from m2m_rag._forking import ForkSafe, ForkSafeLock
from m2m_rag.errors import ClosedError

POLL_S = 0.001
F = TypeVar("F", bound=Callable[..., Any])


class Call:
    """One call under way. It ends with `is_over`, or with the last reference to it.

    So an interrupt between two steps cannot leave it counted for ever.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.is_over = False


class Underway(ForkSafe):
    """The calls under way, until `end`."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[weakref.ref[Call]] = []
        self._is_ending = False
        self._lock = ForkSafeLock()

    def begin(self) -> Call:
        """Count a call for as long as what is returned is kept.

        Raises
        ------
        ClosedError
            `end` was called, and this is no part of a call that began before.
        """
        call = Call()
        with self._lock:
            if self._is_ending and not any(one.thread == call.thread for one in self._present()):
                raise ClosedError("the database was closed. Open it again with Database(path).")
            self._calls = [*map(weakref.ref, self._present()), weakref.ref(call)]
        return call

    def end(self) -> None:
        """Let no more begin, and wait for those of other threads."""
        me = threading.get_ident()
        with self._lock:  # else one that has passed `begin`'s check might not be counted yet
            self._is_ending = True
        while any(call.thread != me for call in self._present()):
            time.sleep(POLL_S)

    def resume(self) -> None:
        """Let calls begin again: `end` was interrupted, or what was to follow it."""
        self._is_ending = False

    def _present(self) -> list[Call]:
        found = [reference() for reference in self._calls]
        return [call for call in found if call is not None and not call.is_over]

    def _renew(self) -> None:
        me = threading.get_ident()
        self._calls = [weakref.ref(call) for call in self._present() if call.thread == me]


class _Counted(Protocol):
    @property
    def _underway(self) -> Underway: ...


def waited_for(method: F) -> F:
    """Make `close` wait for a method of something that is `_underway`."""

    @wraps(method)
    def counted(self: _Counted, *arguments: Any, **named: Any) -> Any:
        call = self._underway.begin()
        try:
            return method(self, *arguments, **named)
        finally:
            call.is_over = True

    return cast(F, counted)
