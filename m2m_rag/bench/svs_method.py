"""SVS: Intel's Vamana graph over float32 rows.

Its compressed rows (LVQ) are not measured: on a CPU of another maker SVS 0.5 ends the process.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.base import BenchMetric, Method, Setting, Size

GRAPH_MAX_DEGREE = 64
BUILD_WINDOW = 128
ALPHA: dict[BenchMetric, float] = {"ip": 0.95, "l2": 1.2}
SEARCH_WINDOW = (10, 20, 30, 40, 60, 80, 120, 200)


class Svs(Method):
    """A flat graph, at most 64 links a row."""

    name: ClassVar[str] = "svs"
    distribution: ClassVar[str | None] = "scalable-vs"

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        super().__init__(metric, k, n_threads)
        self._svs: Any = require("svs", "bench")
        self._index: Any = None
        self._vector_bytes = 0

    def build(self, vectors: FloatArray) -> None:
        """Build the graph; SVS copies the rows."""
        svs = self._svs
        self._vector_bytes = vectors.nbytes
        build = svs.VamanaBuildParameters(
            graph_max_degree=GRAPH_MAX_DEGREE, window_size=BUILD_WINDOW, alpha=ALPHA[self.metric]
        )
        kind = svs.DistanceType.MIP if self.metric == "ip" else svs.DistanceType.L2
        self._index = svs.Vamana.build(build, vectors, kind, num_threads=self.n_threads)
        self._index.num_threads = self.n_threads

    def parameters(self) -> dict[str, Any]:
        """Return the links and the width of the search while building."""
        return {
            "graph_max_degree": GRAPH_MAX_DEGREE,
            "window_size": BUILD_WINDOW,
            "alpha": ALPHA[self.metric],
        }

    def settings(self) -> list[Setting]:
        """Return the widths of the search that hold k rows."""
        widths = sorted({max(width, self.k) for width in SEARCH_WINDOW})
        return [{"search_window_size": width} for width in widths]

    def use(self, setting: Setting) -> None:
        """Set the width."""
        self._index.search_window_size = int(setting["search_window_size"])

    def search(self, query: FloatArray) -> RowArray:
        """Search one."""
        found: RowArray = self._index.search(query[None], self.k)[0][0]
        return found

    def search_batch(self, queries: FloatArray) -> RowArray:
        """Search all."""
        found: RowArray = self._index.search(queries, self.k)[0]
        return found

    def n_bytes(self) -> Size | None:
        """Return the size of the graph as SVS writes it, and of the rows beside it."""
        with tempfile.TemporaryDirectory() as folder:
            parts = [str(Path(folder, name)) for name in ("config", "graph", "rows")]
            self._index.save(*parts)
            files = Path(folder, "graph").rglob("*")
            graph_bytes = sum(path.stat().st_size for path in files if path.is_file())
        return Size(graph_bytes, graph_bytes + self._vector_bytes)
