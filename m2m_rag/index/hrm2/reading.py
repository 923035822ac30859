"""Reading stored vectors by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2m_rag._types import FloatArray, RowArray, Segment


def take(segments: Sequence[Segment], rows: RowArray) -> FloatArray:
    """Return a ``(len(rows), d)`` copy of those rows' vectors; rows ascend."""
    parts = []
    for first, vectors in segments:
        start, stop = np.searchsorted(rows, [first, first + len(vectors)])
        inside = rows[start:stop] - first
        if len(inside) and inside[-1] - inside[0] == len(inside) - 1:
            parts.append(vectors[inside[0] : inside[-1] + 1])
        elif len(inside):
            parts.append(vectors[inside])
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts)
