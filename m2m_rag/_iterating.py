"""Answers that come one by one: they end with their collection, and a fork leaves them whole.

An unfinished iteration over records holds a connection with its snapshot. Closing the collection
ends it. A fork must not find the connection in use (see `m2m_rag.storage.fork_gate`), so what is
left is read into memory first; parent and child then go on with their own copy.
"""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from m2m_rag._closing import Closing
from m2m_rag._forking import ForkSafeLock
from m2m_rag.errors import ClosedError

Item = TypeVar("Item")
Items = Generator[Item, None, None]


class Iteration(Closing, Iterator[Item], Generic[Item]):
    """Items in turn; made by `Iterations.start`. Threads that share one take turns."""

    def __init__(self, items: Items[Item], check: Callable[[], None]) -> None:
        self._items = items
        self._check = check
        self._is_ended = False
        self._lock = ForkSafeLock()

    def __next__(self) -> Item:
        """Return the next item.

        Raises
        ------
        ClosedError
            The collection was closed or dropped before the last item.
        """
        with self._lock:
            self._check()
            if self._is_ended:
                raise ClosedError("the collection was dropped; this iteration over it has ended.")
            return next(self._items)

    def close(self) -> None:
        """Finish early: give back what the iteration holds. Closing twice is fine."""
        with self._lock:
            self._close()

    def _end(self) -> None:
        with self._lock:
            self._is_ended = True
            self._close()

    def _close(self) -> None:
        """Close the generator, unless a thread was in it that a forked child does not have."""
        if inspect.getgeneratorstate(self._items) != inspect.GEN_RUNNING:
            self._items.close()

    def _read_ahead(self) -> None:
        """Take what is left into memory, with the error that ends it."""
        with self._lock:
            if inspect.getgeneratorstate(self._items) != inspect.GEN_SUSPENDED:
                return
            rest: list[Item] = []
            failure: Exception | None = None
            try:
                rest.extend(self._items)
            except Exception as error:
                failure = error
            self._items = _replay(rest, failure)


class Iterations:
    """The unfinished iterations over one collection."""

    def __init__(self) -> None:
        self._live: weakref.WeakSet[Iteration[Any]] = weakref.WeakSet()
        self._is_over = False
        self._lock = ForkSafeLock()

    def start(
        self, items: Items[Item], check: Callable[[], None], *, holds_connection: bool
    ) -> Iteration[Item]:
        """Return an iteration over `items`.

        Parameters
        ----------
        items
            What to iterate over.
        check
            Called before each item; raises when the collection may not be used any more.
        holds_connection
            Whether a connection is in use between two items.
        """
        iteration = Iteration(items, check)
        with self._lock:
            self._live.add(iteration)
            iteration._is_ended = self._is_over
        if holds_connection:
            with _lock:
                _holding.add(iteration)
        return iteration

    def end(self) -> None:
        """End all, after the item that is under way; the next one raises."""
        with self._lock:
            self._is_over = True
            live = list(self._live)
        for iteration in live:
            iteration._end()


def _replay(items: list[Item], failure: Exception | None) -> Items[Item]:
    yield from items
    if failure is not None:
        raise failure


_holding: weakref.WeakSet[Iteration[Any]] = weakref.WeakSet()
_lock = ForkSafeLock()


def _before_fork() -> None:
    with _lock:
        holding = list(_holding)
    for iteration in holding:
        iteration._read_ahead()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)
