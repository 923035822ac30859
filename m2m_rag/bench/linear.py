"""Linear search: one BLAS product with all rows, then a partial sort. No index to build."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size

BLOCK_BYTES = 256 << 20
"""Scores of a batch that are held at once."""


class Linear(Method):
    """Exact search by numpy, the speed that an index must beat."""

    name: ClassVar[str] = "linear"
    distribution: ClassVar[str | None] = "numpy"
    max_queries: ClassVar[int | None] = 100

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._vectors: FloatArray = np.empty((0, 0), np.float32)
        self._half_norms2: FloatArray | None = None

    def build(self, vectors: FloatArray) -> None:
        """Keep the rows and, for l2, half their squared norms."""
        self._vectors = vectors
        if self.metric == "l2":
            self._half_norms2 = 0.5 * np.einsum("ij,ij->i", vectors, vectors)

    def parameters(self) -> dict[str, Any]:
        """Return nothing: there is nothing to choose."""
        return {}

    def settings(self) -> list[Setting]:
        """Return the one setting."""
        return [{}]

    def use(self, setting: Setting) -> None:
        """Do nothing."""

    def search(self, query: FloatArray) -> RowArray:
        """Return the best rows; q·x - |x|²/2 orders rows as -|q - x|² does."""
        scores = self._vectors @ query
        if self._half_norms2 is not None:
            scores -= self._half_norms2
        return _best(scores, self.k)

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Multiply a block of queries at a time."""
        n_block = max(1, BLOCK_BYTES // (4 * len(self._vectors)))
        found = []
        for start in range(0, len(queries), n_block):
            scores = queries[start : start + n_block] @ self._vectors.T
            if self._half_norms2 is not None:
                scores -= self._half_norms2
            found += [_best(row, self.k) for row in scores]
        return np.stack(found)

    def n_bytes(self) -> Size | None:
        """Return the size of the norms, and of the rows."""
        index_bytes = 0 if self._half_norms2 is None else self._half_norms2.nbytes
        return Size(index_bytes, index_bytes + self._vectors.nbytes)


def _best(scores: FloatArray, k: int) -> RowArray:
    if k >= len(scores):
        return np.argsort(-scores)
    rows = np.argpartition(-scores, k)[:k]
    return rows[np.argsort(-scores[rows])]
