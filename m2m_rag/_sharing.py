"""A database that coroutines of any loop open and close together, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from weakref import WeakKeyDictionary

from m2m_rag._forking import ForkSafeLock
from m2m_rag.database import Database


class SharedDatabase:
    """Opened once, whichever loops ask for it at once; an opening that all give up is undone.

    Parameters
    ----------
    make
        Opens the database.
    """

    def __init__(self, make: Callable[[], Database]) -> None:
        self.database: Database | None = None
        self._make = make
        self._n_users = 0
        """How often it was opened, cancelled openings not counted."""
        self._lock = ForkSafeLock()

    async def open(self) -> None:
        """Open it, unless it is open."""
        async with _turn_of(self):
            # A future, no task: what a loop cancels at its end would not be told of the result.
            opening = asyncio.get_running_loop().run_in_executor(None, self._open)
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(self._give_up)
                raise

    async def close(self) -> None:
        """Close it, if it is open."""
        async with _turn_of(self):
            await asyncio.to_thread(self._close)

    def _open(self) -> None:
        with self._lock:
            if self.database is None:
                self.database = self._make()
            self._n_users += 1

    def _give_up(self, opening: asyncio.Future[None]) -> None:
        """Close what a cancelled opening has opened, unless others opened it, too."""
        if not opening.cancelled() and opening.exception() is None:
            with self._lock:
                self._n_users -= 1
                if self._n_users == 0 and self.database is not None:
                    self.database.close()
                    self.database = None

    def _close(self) -> None:
        with self._lock:
            if self.database is not None:
                self.database.close()


_turns: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakKeyDictionary[SharedDatabase, asyncio.Lock]
] = WeakKeyDictionary()


def _turn_of(shared: SharedDatabase) -> asyncio.Lock:
    """Return the lock that keeps the order of opening and closing: one for each loop."""
    turns = _turns.setdefault(asyncio.get_running_loop(), WeakKeyDictionary())
    return turns.setdefault(shared, asyncio.Lock())
