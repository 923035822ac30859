"""Long calls that `close` waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

from m2m_rag._forking import ForkSafe, ForkSafeLock
from m2m_rag.errors import ClosedError

POLL_S = 0.001
F = TypeVar("F", bound=Callable[..., Any])


class Underway(ForkSafe):
    """Counts the calls under way, by thread, until `end`."""

    def __init__(self) -> None:
        super().__init__()
        self._inside: list[int] = []
        self._is_ended = False
        self._lock = ForkSafeLock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count one call.

        Raises
        ------
        ClosedError
            After `end`.
        """
        me = threading.get_ident()
        with self._lock:
            if self._is_ended:
                raise ClosedError("the database was closed. Open it again with Database(path).")
            self._inside.append(me)
        try:
            yield
        finally:
            with self._lock:
                self._inside.remove(me)

    def end(self) -> None:
        """Wait for the calls of other threads; from then on there are none."""
        me = threading.get_ident()
        while True:
            with self._lock:
                if all(thread == me for thread in self._inside):
                    self._is_ended = True
                    return
            time.sleep(POLL_S)

    def _renew(self) -> None:
        me = threading.get_ident()
        self._inside = [thread for thread in self._inside if thread == me]


class _Counted(Protocol):
    @property
    def _underway(self) -> Underway: ...


def waited_for(method: F) -> F:
    """Make `close` wait for a method of something that is `_underway`."""

    @wraps(method)
    def call(self: _Counted, *arguments: Any, **named: Any) -> Any:
        with self._underway.call():
            return method(self, *arguments, **named)

    return cast(F, call)
