"""usearch: HNSW over float32, float16 or 8-bit copies of the rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, ClassVar

import numpy as np

from m2m_rag._optional import require
from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size
from m2m_rag.errors import MissingExtraError

CONNECTIVITY = 16
EXPANSION_ADD = 200
EXPANSION_SEARCH = (16, 32, 64, 128, 256, 512)


class Usearch(Method):
    """HNSW over float32 rows."""

    name: ClassVar[str] = "usearch"
    distribution: ClassVar[str | None] = "usearch"
    dtype: ClassVar[str] = "f32"
    item_bytes: ClassVar[int] = 4

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        # Imported after usearch 2.26.6, faiss-cpu 1.15.1 kills the process when rows are added to
        # any of its indexes (seen on Linux); imported before, both work.
        with suppress(MissingExtraError):
            require("faiss", "bench")
        self._usearch: Any = require("usearch.index", "bench")
        self._index: Any = None
        self._vector_bytes = 0

    def build(self, vectors: FloatArray) -> None:
        """Add all rows."""
        n, d = vectors.shape
        self._vector_bytes = n * d * self.item_bytes
        self._index = self._usearch.Index(
            ndim=d, metric="ip" if self.metric == "ip" else "l2sq", dtype=self.dtype,
            connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD,
        )  # fmt: skip
        self._index.add(np.arange(n), vectors, threads=self.n_threads)

    def parameters(self) -> dict[str, Any]:
        """Return the links, the width of the search while building and the rows' type."""
        return {"connectivity": CONNECTIVITY, "expansion_add": EXPANSION_ADD, "dtype": self.dtype}

    def settings(self) -> list[Setting]:
        """Return the widths of the search."""
        return [{"expansion_search": width} for width in EXPANSION_SEARCH]

    def use(self, setting: Setting) -> None:
        """Set the width."""
        self._index.expansion_search = int(setting["expansion_search"])

    def search(self, query: FloatArray) -> RowArray:
        """Search one."""
        found: RowArray = self._index.search(query, self.k).keys
        return found

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all."""
        found: RowArray = self._index.search(queries, self.k, threads=self.n_threads).keys
        return found

    def n_bytes(self) -> Size | None:
        """Return the memory that it says it uses: the rows in its type, links, reserved room."""
        total_bytes = int(self._index.memory_usage)
        return Size(total_bytes - self._vector_bytes, total_bytes)


class UsearchF16(Usearch):
    """HNSW over float16 rows."""

    name: ClassVar[str] = "usearch-f16"
    dtype: ClassVar[str] = "f16"
    item_bytes: ClassVar[int] = 2


class UsearchI8(Usearch):
    """HNSW over 8-bit rows."""

    name: ClassVar[str] = "usearch-i8"
    dtype: ClassVar[str] = "i8"
    item_bytes: ClassVar[int] = 1
