"""ScaNN: inverted lists of anisotropic product codes, re-ranked by the vectors themselves."""

from __future__ import annotations

from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size

DIMENSIONS_PER_BLOCK = 2
ANISOTROPIC_THRESHOLD = 0.2
MAX_TRAINING_ROWS = 250_000
LEAVES = (5, 10, 20, 40, 80, 160, 320)
REORDER = (30, 60, 120, 240)
"""How many candidates the vectors re-rank."""


class Scann(Method):
    """A tree of 2√n leaves, asymmetric hashing, reordering."""

    name: ClassVar[str] = "scann"
    distribution: ClassVar[str | None] = "scann"

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._scann: Any = require("scann", "bench")
        self._searcher: Any = None
        self._n_leaves = 0
        self._width: dict[str, int] = {}

    def build(self, vectors: FloatArray) -> None:
        """Train and add all rows."""
        n = len(vectors)
        self._n_leaves = max(1, int(2 * n**0.5))
        is_ip = self.metric == "ip"
        self._searcher = (
            self._scann.scann_ops_pybind.builder(
                vectors, self.k, "dot_product" if is_ip else "squared_l2"
            )
            .set_n_training_threads(self.n_threads)
            .tree(
                num_leaves=self._n_leaves,
                num_leaves_to_search=min(LEAVES[-1], self._n_leaves),
                training_sample_size=min(n, MAX_TRAINING_ROWS),
            )
            .score_ah(
                DIMENSIONS_PER_BLOCK,
                anisotropic_quantization_threshold=(
                    ANISOTROPIC_THRESHOLD if is_ip else float("nan")
                ),
            )
            .reorder(REORDER[-1])
            .build()
        )
        self._searcher.set_num_threads(self.n_threads)

    def parameters(self) -> dict[str, Any]:
        """Return the leaves and the codes' parameters."""
        return {
            "num_leaves": self._n_leaves,
            "dimensions_per_block": DIMENSIONS_PER_BLOCK,
            "anisotropic_quantization_threshold": (
                ANISOTROPIC_THRESHOLD if self.metric == "ip" else None
            ),
        }

    def settings(self) -> list[Setting]:
        """Return the grid of leaves and candidates that the index has and k allows."""
        leaves = sorted({min(n, self._n_leaves) for n in LEAVES})
        widths = sorted({max(n, self.k) for n in REORDER})
        return [
            {"leaves_to_search": a, "pre_reorder_num_neighbors": b} for a in leaves for b in widths
        ]

    def use(self, setting: Setting) -> None:
        """Keep the setting for the calls, which take it as arguments."""
        self._width = {name: int(value) for name, value in setting.items()}

    def search(self, query: FloatArray) -> RowArray:
        """Search one."""
        found: RowArray = self._searcher.search(query, final_num_neighbors=self.k, **self._width)[0]
        return found

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all; in parallel only when there are several threads."""
        call = self._searcher.search_batched
        if self.n_threads > 1:
            call = self._searcher.search_batched_parallel
        found: RowArray = call(queries, final_num_neighbors=self.k, **self._width)[0]
        return found

    def n_bytes(self) -> Size | None:
        """Return None: ScaNN does not tell."""
        return None
