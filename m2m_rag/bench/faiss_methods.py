"""FAISS: HNSW, and inverted lists of short codes re-ranked by the vectors themselves."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size
from m2m_rag.errors import InvalidInputError

EF_CONSTRUCTION = 100
EF_SEARCH = (16, 32, 64, 128, 256, 512)
N_PROBE = (8, 16, 32, 64, 128, 256)
K_FACTOR = (2, 5, 10, 20)
"""How many times k candidates the vectors re-rank."""


class _Faiss(Method):
    """What the kinds of index share; each says its factory string and its curve."""

    distribution: ClassVar[str | None] = "faiss-cpu"

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._faiss: Any = require("faiss", "bench")
        self._index: Any = None
        self._factory = ""
        self._vector_bytes = 0

    @abstractmethod
    def _factory_of(self, n: int, d: int) -> str:
        """Return the factory string for n rows of d numbers."""

    def _before_adding(self) -> None:
        """Set what must be set before rows are added."""

    def build(self, vectors: FloatArray) -> None:
        """Train on all rows and add them."""
        faiss = self._faiss
        faiss.omp_set_num_threads(self.n_threads)
        n, d = vectors.shape
        self._factory, self._vector_bytes = self._factory_of(n, d), vectors.nbytes
        kind = faiss.METRIC_INNER_PRODUCT if self.metric == "ip" else faiss.METRIC_L2
        self._index = faiss.index_factory(d, self._factory, kind)
        self._before_adding()
        self._index.train(vectors)
        self._index.add(vectors)

    def parameters(self) -> dict[str, Any]:
        """Return the factory string."""
        return {"factory": self._factory}

    def use(self, setting: Setting) -> None:
        """Set the parameters by name."""
        space = self._faiss.ParameterSpace()
        for name, value in setting.items():
            space.set_index_parameter(self._index, name, value)

    def search(self, query: FloatArray) -> RowArray:
        """Search one."""
        found: RowArray = self._index.search(query[None], self.k)[1][0]
        return found

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all."""
        found: RowArray = self._index.search(queries, self.k)[1]
        return found

    def n_bytes(self) -> Size | None:
        """Return the size of the index as FAISS writes it, which holds the float32 rows."""
        total_bytes = len(self._faiss.serialize_index(self._index))
        return Size(total_bytes - self._vector_bytes, total_bytes)


class FaissHnsw(_Faiss):
    """HNSW, 32 links a row."""

    name: ClassVar[str] = "faiss-hnsw"

    def _factory_of(self, n: int, d: int) -> str:
        return "HNSW32,Flat"

    def _before_adding(self) -> None:
        self._index.hnsw.efConstruction = EF_CONSTRUCTION

    def parameters(self) -> dict[str, Any]:
        """Return the factory string and the width of the search while building."""
        return {**super().parameters(), "efConstruction": EF_CONSTRUCTION}

    def settings(self) -> list[Setting]:
        """Return the widths of the search."""
        return [{"efSearch": ef} for ef in EF_SEARCH]


class _FaissIvf(_Faiss):
    """Inverted lists; the clusters to probe and the candidates to re-rank make a grid."""

    def settings(self) -> list[Setting]:
        """Return the grid."""
        return [{"nprobe": a, "k_factor_rf": b} for a in N_PROBE for b in K_FACTOR]


class FaissIvfPq(_FaissIvf):
    """4-bit product codes, one for two dimensions, scanned by byte shuffles (FastScan)."""

    name: ClassVar[str] = "faiss-ivfpqfs"

    def _factory_of(self, n: int, d: int) -> str:
        if d % 2:
            raise InvalidInputError(
                f"{self.name} codes two dimensions at a time and cannot take {d}; "
                "leave it out of --peers"
            )
        return f"IVF{_n_lists(n)},PQ{d // 2}x4fs,RFlat"


class FaissIvfRabitq(_FaissIvf):
    """RaBitQ codes under a random rotation, scanned by byte shuffles."""

    name: ClassVar[str] = "faiss-ivfrabitqfs"

    def _factory_of(self, n: int, d: int) -> str:
        return f"RR,IVF{_n_lists(n)},RaBitQfs,RFlat"


def _n_lists(n: int) -> int:
    return max(1, min(int(4 * n**0.5), 4096, n))
