"""8-bit scalar quantization, a scale a row: how fine centroids are kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray


def to_int8(vectors: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Return rows as int8 levels, and the ``(n,)`` float32 that scales them back."""
    largest = np.abs(vectors).max(axis=1, initial=0.0)
    scale = (np.where(largest > 0.0, largest, 1.0) / 127.0).astype(np.float32)
    return np.rint(vectors / scale[:, None]).astype(np.int8), scale
