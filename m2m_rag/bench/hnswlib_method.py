"""hnswlib: the reference HNSW."""

from __future__ import annotations

from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size

M = 16
EF_CONSTRUCTION = 200
EF = (16, 32, 64, 128, 256, 512)


class Hnswlib(Method):
    """HNSW, 16 links a row and twice as many in the lowest layer."""

    name: ClassVar[str] = "hnswlib"
    distribution: ClassVar[str | None] = "hnswlib"

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._hnswlib: Any = require("hnswlib", "bench")
        self._index: Any = None
        self._vector_bytes = 0

    def build(self, vectors: FloatArray) -> None:
        """Add all rows."""
        n, d = vectors.shape
        self._vector_bytes = vectors.nbytes
        self._index = self._hnswlib.Index(space=self.metric, dim=d)
        self._index.init_index(n, M=M, ef_construction=EF_CONSTRUCTION)
        self._index.set_num_threads(self.n_threads)
        self._index.add_items(vectors)

    def parameters(self) -> dict[str, Any]:
        """Return the links and the width of the search while building."""
        return {"M": M, "ef_construction": EF_CONSTRUCTION}

    def settings(self) -> list[Setting]:
        """Return the widths of the search that hold k rows."""
        return [{"ef": ef} for ef in EF if ef >= self.k] or [{"ef": self.k}]

    def use(self, setting: Setting) -> None:
        """Set the width."""
        self._index.set_ef(int(setting["ef"]))

    def search(self, query: FloatArray) -> RowArray:
        """Search one."""
        found: RowArray = self._index.knn_query(query, k=self.k)[0][0]
        return found

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all."""
        found: RowArray = self._index.knn_query(queries, k=self.k)[0]
        return found

    def n_bytes(self) -> Size | None:
        """Return the size of the index as a file, which holds the float32 rows."""
        total_bytes = int(self._index.index_file_size())
        return Size(total_bytes - self._vector_bytes, total_bytes)
