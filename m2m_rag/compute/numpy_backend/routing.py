"""The reference for routing: a query's bit-planes, and the cut between candidates and the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, WordArray
from m2m_rag.compute.clustered import CUT_STEPS

F32 = np.float32


def quantise(
    rotated: FloatArray, length: float, spacing: float, n_planes: int
) -> tuple[WordArray, np.float32]:
    """Return a rotated query's ``(n_planes, w)`` bit-planes and its step.

    Levels are the odd multiples of the step: a coordinate is about step * sum of 2^p (±1).
    """
    step = F32(0.5 * spacing * length / np.sqrt(len(rotated)))
    inverse = F32(0.5) / step if step > 0.0 else F32(0.0)
    levels = np.floor(rotated * inverse) + F32(2 ** (n_planes - 1))
    whole = np.clip(levels, 0, 2**n_planes - 1).astype(np.uint64)
    planes = [
        np.packbits(((whole >> np.uint64(p)) & np.uint64(1)) == 1, bitorder="little").view("<u8")
        for p in range(n_planes)
    ]
    return np.stack(planes).astype(np.uint64), step


def find_cut(values: NDArray[np.float32], wanted: int) -> np.float32:
    """Return a cut that at least `wanted` values pass, but few more."""
    finite = values[values > -np.inf]
    least, high = F32(finite.min()), F32(finite.max())
    low = F32(least - F32(1e-6) * abs(least))
    if (finite > low).sum() <= wanted:
        return F32(-3e38)
    for _ in range(CUT_STEPS):
        middle = (low + high) * F32(0.5)
        count = int((finite > middle).sum())
        if count >= wanted:
            low = middle
            if count <= wanted + wanted // 8:
                return low
        else:
            high = middle
    return low
