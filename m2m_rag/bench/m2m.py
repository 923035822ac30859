"""Our method: `HRM2Index` at its recall targets, called as a collection calls it."""

from __future__ import annotations

from typing import Any, ClassVar

from m2m_rag._types import FloatArray, Metric, RowArray, Segment
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size
from m2m_rag.compute import get_backend
from m2m_rag.index import HRM2Index

RECALLS = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
BACKEND = "numba"
# Rows of unit length: the cosine is the inner product, and it is the default that users have.
METRIC_OF: dict[BenchMetric, Metric] = {"ip": "cosine", "l2": "l2"}
N_WARM_UP = 4096


class M2M(Method):
    """HRM2 with its recall as the only parameter; large batches use all threads there are."""

    name: ClassVar[str] = "m2m"
    distribution: ClassVar[str | None] = "m2m-rag"

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._index = HRM2Index(get_backend(BACKEND), METRIC_OF[metric])
        self._segments: list[Segment] = []
        self._recall = RECALLS[0]

    def warm_up(self, vectors: FloatArray) -> None:
        """Compile the kernels, or read them from Numba's cache, on the first few rows."""
        self.build(vectors[:N_WARM_UP])
        self.search(vectors[0])
        self.search_batch(vectors[:2])
        self._index = HRM2Index(get_backend(BACKEND), METRIC_OF[self.metric])

    def build(self, vectors: FloatArray) -> None:
        """Build the index of all rows; the vectors stay where they are."""
        self._segments = [Segment(0, vectors)]
        self._index.build(self._segments)

    def parameters(self) -> dict[str, Any]:
        """Return the backend, the metric and the shape that the index chose."""
        shape = {name: self._index.stats().get(name) for name in ("n_coarse", "n_fine")}
        return {"backend": BACKEND, "metric": METRIC_OF[self.metric], **shape}

    def settings(self) -> list[Setting]:
        """Return the recall targets."""
        return [{"recall": recall} for recall in RECALLS]

    def use(self, setting: Setting) -> None:
        """Aim at a recall."""
        self._recall = setting["recall"]

    def search(self, query: FloatArray) -> RowArray:
        """Search at LOD 1."""
        rows, _ = self._index.search(query[None], self.k, self._segments, recall=self._recall)
        best: RowArray = rows[0]
        return best

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all at LOD 1."""
        return self._index.search(queries, self.k, self._segments, recall=self._recall)[0]

    def n_bytes(self) -> Size | None:
        """Return what `stats` says; None when there were too few rows to index."""
        index_bytes = self._index.stats().get("bytes")
        if index_bytes is None:
            return None
        vector_bytes = sum(segment.vectors.nbytes for segment in self._segments)
        return Size(index_bytes, index_bytes + vector_bytes)
