"""The numpy backend: the reference, which computes the canonical scores as they are defined."""

from __future__ import annotations

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray
from m2m_rag.compute.base import ComputeBackend

CHUNK_ROWS = 8192
"""Rows that are widened to float64 at a time: at d = 384 a chunk takes 25 MB."""


class NumpyBackend(ComputeBackend):
    """Sums in the order of the dimensions, over all rows of a chunk at once."""

    name = "numpy"

    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """See `ComputeBackend.squared_norms`."""
        total = np.zeros(len(vectors))
        for start in range(0, len(vectors), CHUNK_ROWS):
            part = total[start : start + CHUNK_ROWS]
            for column in _columns(vectors, start):
                part += column * column
        return total

    def scores(
        self, query: FloatArray, vectors: FloatArray, norms2: ScoreArray, metric: Metric
    ) -> ScoreArray:
        """See `ComputeBackend.scores`."""
        wide = query.astype(np.float64)
        total = np.zeros(len(vectors))
        for start in range(0, len(vectors), CHUNK_ROWS):
            part = total[start : start + CHUNK_ROWS]
            for value, column in zip(wide, _columns(vectors, start), strict=True):
                if metric == "l2":
                    difference = value - column
                    part += difference * difference
                else:
                    part += value * column
        if metric == "dot":
            return total
        if metric == "l2":
            return 0.0 - np.sqrt(total)  # so that an exact match scores 0.0, not -0.0
        scale = np.sqrt(self.squared_norms(query[None])[0] * norms2)
        total[scale == 0.0] = 0.0
        np.divide(total, scale, out=total, where=scale != 0.0)
        return np.clip(total, -1.0, 1.0, out=total)

    def top_k(
        self,
        queries: FloatArray,
        vectors: FloatArray,
        norms2: ScoreArray,
        k: int,
        metric: Metric,
        allowed: MaskArray | None = None,
    ) -> tuple[list[RowArray], list[ScoreArray]]:
        """See `ComputeBackend.top_k`."""
        rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
        if allowed is not None:
            vectors, norms2 = vectors[rows], norms2[rows]
        all_rows, all_scores = [], []
        for query in queries:
            scores = self.scores(query, vectors, norms2, metric)
            best = np.argsort(-scores, kind="stable")[:k]
            all_rows.append(rows[best].astype(np.int64))
            all_scores.append(scores[best])
        return all_rows, all_scores


def _columns(vectors: FloatArray, start: int) -> ScoreArray:
    """Return the chunk from row `start` on as ``(d, rows)`` float64."""
    return np.ascontiguousarray(vectors[start : start + CHUNK_ROWS].T, dtype=np.float64)
