"""The flat index: exact search over all rows, segment by segment.

It keeps one float64 squared norm a row, computed when a row is first searched; the vectors stay
where they are stored. It is the oracle that every other index is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import (
    Backend,
    FloatArray,
    MaskArray,
    Metric,
    RowArray,
    ScoreArray,
    Segment,
)


class FlatIndex:
    """Exact top k by comparing a query with every allowed row.

    Parameters
    ----------
    backend
        Computes norms and top k.
    metric
        Which score.
    """

    def __init__(self, backend: Backend, metric: Metric) -> None:
        self._backend = backend
        self._metric: Metric = metric
        self._norms2: dict[int, ScoreArray] = {}
        self._lock = ForkSafeLock()

    def search(
        self,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray]:
        """Return the exact top k of each query, best first, ties to the lower row.

        Parameters
        ----------
        queries
            ``(m, d)`` float32.
        k
            At least 1.
        segments
            The rows to search, ascending and without overlap. A segment may have grown since the
            last call, but never changes where it was.
        allowed
            One bool for each row up to the last segment's end, or None for all.

        Returns
        -------
        rows, scores
            ``(m, min(k, allowed rows))``: rows of the collection, and their scores.
        """
        found: list[tuple[RowArray, ScoreArray]] = []
        for first_row, vectors in segments:
            norms2 = self._squared_norms(first_row, vectors)
            mask = None if allowed is None else allowed[first_row : first_row + len(vectors)]
            rows, scores = self._backend.top_k(queries, vectors, norms2, k, self._metric, mask)
            found.append((rows + first_row, scores))
        return found[0] if len(found) == 1 else merged(found, k)

    def _squared_norms(self, first_row: int, vectors: FloatArray) -> ScoreArray:
        with self._lock:
            known = self._norms2.get(first_row, np.empty(0))
            if len(known) < len(vectors):
                fresh = self._backend.squared_norms(vectors[len(known) :])
                known = self._norms2[first_row] = np.concatenate([known, fresh])
        return known[: len(vectors)]


def merged(found: Sequence[tuple[RowArray, ScoreArray]], k: int) -> tuple[RowArray, ScoreArray]:
    """Return the best k of several answers to the same queries."""
    rows = np.concatenate([part[0] for part in found], axis=1)
    scores = np.concatenate([part[1] for part in found], axis=1)
    best = np.lexsort((rows, -scores))[:, :k]
    return np.take_along_axis(rows, best, axis=1), np.take_along_axis(scores, best, axis=1)
