"""Vectors in memory: one array that doubles when it is full."""

from __future__ import annotations

import numpy as np

from m2m_rag._types import FloatArray, RowArray, Segment
from m2m_rag.storage.vectors.base import Block, Layout, VectorFile, Vectors


class MemoryVectors(Vectors):
    """Rows of a collection in memory; views handed out stay valid while the array grows."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self._rows = np.empty((0, dimension), dtype=np.float32)

    def append(self, layout: Layout, vectors: FloatArray) -> tuple[list[VectorFile], list[Block]]:
        """See `Vectors.append`."""
        used = layout.files[-1].rows if layout.files else 0
        total = used + len(vectors)
        if total > len(self._rows):
            grown = np.empty((max(total, 2 * used), self._rows.shape[1]), dtype=np.float32)
            grown[:used] = self._rows[:used]
            self._rows = grown
        self._rows[used:total] = vectors
        return [VectorFile(0, "memory", 0, total)], []

    def sync(self) -> None:
        """See `Vectors.sync`."""

    def undo(self) -> None:
        """See `Vectors.undo`."""

    def segments(self, layout: Layout) -> list[Segment]:
        """See `Vectors.segments`."""
        if not layout.files:
            return []
        view = self._rows[: layout.files[-1].rows]
        view.flags.writeable = False
        return [Segment(0, view)]

    def rows(self, layout: Layout, rows: RowArray) -> FloatArray:
        """See `Vectors.rows`."""
        return self._rows[rows]

    def close(self) -> None:
        """See `Vectors.close`."""
        self._rows = self._rows[:0]
