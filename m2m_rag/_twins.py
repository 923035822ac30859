"""Asynchronous twins of synchronous objects: each call runs in a thread of the loop's executor."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import islice
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from m2m_rag._iterating import Iteration

P = ParamSpec("P")
Result = TypeVar("Result")
SyncT_co = TypeVar("SyncT_co", covariant=True)
Item = TypeVar("Item")


class Twin(ABC, Generic[SyncT_co]):
    """What has a synchronous twin, and is closed at the end of its ``async with`` block."""

    @property
    @abstractmethod
    def sync(self) -> SyncT_co:
        """The synchronous twin, for code that runs in a thread of its own."""

    @abstractmethod
    async def close(self) -> None:
        """Close it. Closing twice is fine."""

    async def __aenter__(self) -> Self:
        """Return the object; leaving the block closes it."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the object."""
        await self.close()


def awaited_twin(
    method: Callable[Concatenate[SyncT_co, P], Result],
) -> Callable[Concatenate[Twin[SyncT_co], P], Coroutine[Any, Any, Result]]:
    """Return the method's asynchronous twin."""

    @functools.wraps(method)
    async def awaited(twin: Twin[SyncT_co], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await asyncio.to_thread(method, twin.sync, *args, **kwargs)

    return awaited


async def in_steps(iteration: Iteration[Item], n: int) -> AsyncIterator[Item]:
    """Yield the items, fetched n at a time."""
    try:
        while items := await asyncio.to_thread(list, islice(iteration, n)):
            for item in items:
                yield item
    finally:
        await asyncio.to_thread(iteration.close)
