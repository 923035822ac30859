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
"""Queries kept, as float16: about a byte a row at 100,000 × 384."""


class QueryLog:
    """A uniform sample of all queries seen (Vitter's reservoir, algorithm R)."""

    def __init__(self, seed: int = 0) -> None:
        self.n_seen = 0
        self._kept: list[np.ndarray[tuple[int], np.dtype[np.float16]]] = []
        self._generator = np.random.default_rng(seed)
        self._lock = ForkSafeLock()

    def add(self, query: FloatArray) -> None:
        """Take note of one ``(d,)`` query; past `CAPACITY` it replaces another or is left out."""
        with self._lock:
            self.n_seen += 1
            if len(self._kept) < CAPACITY:
                place = len(self._kept)
                self._kept.append(_halved(query))
                return
            place = int(self._generator.integers(self.n_seen))
            if place < CAPACITY:
                self._kept[place] = _halved(query)

    @property
    def n_bytes(self) -> int:
        """Memory that the sample takes."""
        return sum(query.nbytes for query in self._kept)

    def sample(self) -> FloatArray:
        """Return the sample as ``(n, d)`` float32; lengths are lost, directions stay."""
        with self._lock:
            return np.stack(self._kept).astype(np.float32)


def _halved(query: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.float16]]:
    return query.astype(np.float16)
