"""A sample of the queries that an index gets, to measure its recall on.

Members of the index stand in for queries at first. Real ones may be further from everything than
members are from each other: on SciFact (questions against abstracts), what gives members a recall
of 0.95 gives questions 0.90.
"""

from __future__ import annotations

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import FloatArray

CAPACITY = 128
"""Queries kept: two bytes a row at 100,000 × 384."""


class QueryLog:
    """A sample of all queries seen: query n is taken with probability `CAPACITY` / n (Vitter 1985).

    The next one to take is drawn ahead, so that the others cost a comparison.
    """

    def __init__(self, seed: int = 0) -> None:
        self.n_seen = 0
        self._next = 0
        self._kept: list[FloatArray] = []
        self._generator = np.random.default_rng(seed)
        self._lock = ForkSafeLock()

    def add(self, query: FloatArray) -> None:
        """Take note of one ``(d,)`` query; past `CAPACITY` it replaces another or is left out.

        Zero queries are answered exactly and say nothing about recall.
        """
        self.n_seen += 1
        if self.n_seen < self._next:
            return
        if not query.any():
            self.n_seen -= 1
            return
        with self._lock:
            if len(self._kept) < CAPACITY:
                self._kept.append(query.copy())
                return
            self._kept[int(self._generator.integers(CAPACITY))] = query.copy()
            gap = self._generator.geometric(CAPACITY / (self.n_seen + 1))
            self._next = self.n_seen + int(gap)

    @property
    def n_bytes(self) -> int:
        """Memory that the sample takes."""
        return sum(query.nbytes for query in self._kept)

    def sample(self) -> FloatArray:
        """Return the sample as ``(n, d)`` float32."""
        with self._lock:
            return np.stack(self._kept)
