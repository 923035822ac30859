"""The reference for exact search and clustering: canonical scores as they are defined."""

from __future__ import annotations

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray
from m2m_rag.compute.numpy_backend.clustered import ClusteredSearch

CHUNK_ROWS = 8192
"""Rows that are widened to float64 at a time: at d = 384 a chunk takes 25 MB."""


class NumpyBackend(ClusteredSearch):
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
    ) -> tuple[RowArray, ScoreArray]:
        """See `ComputeBackend.top_k`."""
        rows = np.arange(len(vectors)) if allowed is None else np.flatnonzero(allowed)
        if allowed is not None:
            vectors, norms2 = vectors[rows], norms2[rows]
        k = min(k, len(rows))
        all_rows, all_scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
        for i, query in enumerate(queries):
            scores = self.scores(query, vectors, norms2, metric)
            best = np.argsort(-scores, kind="stable")[:k]
            all_rows[i], all_scores[i] = rows[best], scores[best]
        return all_rows, all_scores

    def assign(self, vectors: FloatArray, centroids: FloatArray) -> RowArray:
        """See `ComputeBackend.assign`."""
        best = np.full(len(vectors), np.inf)
        labels = np.zeros(len(vectors), dtype=np.int64)
        for number in range(len(centroids)):
            here = np.full(len(vectors), number)
            distances = self.squared_distances(vectors, centroids, here)
            nearer = distances < best
            best[nearer] = distances[nearer]
            labels[nearer] = number
        return labels

    def squared_distances(
        self, vectors: FloatArray, centroids: FloatArray, labels: RowArray
    ) -> ScoreArray:
        """See `ComputeBackend.squared_distances`."""
        total = np.zeros(len(vectors))
        for start in range(0, len(vectors), CHUNK_ROWS):
            part = total[start : start + CHUNK_ROWS]
            own = _columns(centroids[labels[start : start + CHUNK_ROWS]], 0)
            for column, centre in zip(_columns(vectors, start), own, strict=True):
                difference = column - centre
                part += difference * difference
        return total

    def cluster_sums(
        self, vectors: FloatArray, labels: RowArray, n_clusters: int
    ) -> tuple[ScoreArray, RowArray]:
        """See `ComputeBackend.cluster_sums`."""
        sums = np.zeros((n_clusters, vectors.shape[1]))
        for vector, label in zip(vectors, labels, strict=True):
            sums[label] += vector
        return sums, np.bincount(labels, minlength=n_clusters).astype(np.int64)


def _columns(vectors: FloatArray, start: int) -> ScoreArray:
    """Return the chunk from row `start` on as ``(d, rows)`` float64."""
    return np.ascontiguousarray(vectors[start : start + CHUNK_ROWS].T, dtype=np.float64)
