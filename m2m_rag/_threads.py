"""Threads for work that releases the GIL: one pool a process, made when it is first needed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from m2m_rag._forking import ForkSafeLock
from m2m_rag.config import threads

Part = TypeVar("Part")
Result = TypeVar("Result")

_lock = ForkSafeLock()
_pools: dict[int, ThreadPoolExecutor] = {}
"""The pool of this process by its number: a forked child has its parent's pool but no threads."""


def in_parallel(function: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Return ``[function(part) for part in parts]``, computed on as many threads as allowed."""
    if threads() == 1:
        return [function(part) for part in parts]
    with _lock:
        pool = _pools.get(os.getpid())
        if pool is None:
            _pools.clear()
            pool = ThreadPoolExecutor(threads(), thread_name_prefix="m2m-search")
            _pools[os.getpid()] = pool
    return list(pool.map(function, parts))


def even_slices(n: int, least: int) -> list[slice]:
    """Cut 0 to n into one slice a thread, of about equal size and at least `least`.

    Examples
    --------
    >>> even_slices(10, 10)
    [slice(0, 10, None)]
    """
    count = max(1, min(threads(), n // least))
    bounds = [n * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]
