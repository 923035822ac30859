"""Stored vectors: where a row lies, and its value for a query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.distances import SCAN_FLAGS
from m2m_rag.compute.numba_backend.intrinsics import as_float32s, prefetch
from m2m_rag.compute.numba_backend.packing import COSINE, L2
from m2m_rag.compute.numba_backend.routing import LINE, dot

F32 = NDArray[np.float32]
TINY_NORM2 = np.float32(2.0**-100)
"""Squared norms below are computed again in float64: their float32 sums underflow."""


@kernel(fastmath=SCAN_FLAGS, inlined=True)
def dot_and_norm2(query: F32, address: Any, n: int) -> Any:
    x = as_float32s(address)
    total, norm2 = np.float32(0.0), np.float32(0.0)
    for j in range(n):
        total += query[j] * x[j]
        norm2 += x[j] * x[j]
    return total, norm2


@kernel(fastmath=SCAN_FLAGS, inlined=True)
def squared_distance(query: F32, address: Any, n: int) -> Any:
    x = as_float32s(address)
    total = np.float32(0.0)
    for j in range(n):
        difference = query[j] - x[j]
        total += difference * difference
    return total


@kernel(inlined=True)
def value_of(query: F32, used: F32, norm2: Any, address: Any, metric: int) -> Any:
    """Return the value (see `m2m_rag.compute.clustered`) of the stored vector at the address.

    `used` is the query as the index sees it, `norm2` its squared length.
    """
    n = query.shape[0]
    if metric == COSINE:
        inner, length2 = dot_and_norm2(used, address, n)
        if length2 < TINY_NORM2:
            x = as_float32s(address)
            wide, wide2 = 0.0, 0.0
            for j in range(n):
                wide += np.float64(used[j]) * np.float64(x[j])
                wide2 += np.float64(x[j]) * np.float64(x[j])
            return np.float32(wide / np.sqrt(wide2)) if wide2 > 0.0 else np.float32(0.0)
        return inner / np.sqrt(length2)
    if metric == L2:
        return (norm2 - squared_distance(query, address, n)) * np.float32(0.5)
    return dot(query, address, n)


@kernel(inlined=True)
def address_of(row: Any, segments: Any, row_bytes: int) -> Any:
    """Return where a row's vector lies: bisection over the segments."""
    low, high = 0, segments.shape[0] - 1
    while low < high:
        middle = (low + high + 1) // 2
        if segments[middle, 0] <= row:
            low = middle
        else:
            high = middle - 1
    return np.uint64(segments[low, 1] + (row - segments[low, 0]) * row_bytes)


@kernel(inlined=True)
def ask(row: Any, segments: Any, row_bytes: int) -> None:
    address = address_of(row, segments, row_bytes)
    for byte in range(0, row_bytes, LINE):
        prefetch(address + np.uint64(byte))
