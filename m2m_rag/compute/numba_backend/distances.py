"""Distance kernels: canonical float64 scores of chosen rows, and float32 scans of all rows.

Canonical kernels keep the order of the sum (no fast-math): they define the answer.
Scan kernels may reassociate and contract (named flags; NaN and infinity keep their meaning, for
rows that a float32 cannot represent score NaN and are then never excluded).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.numba_backend.compiling import kernel

SCAN_FLAGS = {"reassoc", "contract", "nsz", "arcp"}

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@kernel()
def squared_norms(vectors: F32, out: F64) -> None:
    n, d = vectors.shape
    for i in range(n):
        total = 0.0
        for j in range(d):
            x = np.float64(vectors[i, j])
            total += x * x
        out[i] = total


@kernel()
def canonical_dot(query: F32, vectors: F32, rows: Any, out: F64) -> None:
    for r in range(rows.shape[0]):
        i = rows[r]
        total = 0.0
        for j in range(query.shape[0]):
            total += np.float64(query[j]) * np.float64(vectors[i, j])
        out[r] = total


@kernel()
def canonical_squared_l2(query: F32, vectors: F32, rows: Any, out: F64) -> None:
    for r in range(rows.shape[0]):
        i = rows[r]
        total = 0.0
        for j in range(query.shape[0]):
            difference = np.float64(query[j]) - np.float64(vectors[i, j])
            total += difference * difference
        out[r] = total


@kernel(fastmath=SCAN_FLAGS)
def scan_dot(query: F32, vectors: F32, allowed: Any, use_allowed: bool, out: F32) -> None:
    d = query.shape[0]
    for i in range(vectors.shape[0]):
        if use_allowed and not allowed[i]:
            continue
        total = np.float32(0.0)
        for j in range(d):
            total += query[j] * vectors[i, j]
        out[i] = total


@kernel(fastmath=SCAN_FLAGS)
def scan_squared_l2(query: F32, vectors: F32, allowed: Any, use_allowed: bool, out: F32) -> None:
    d = query.shape[0]
    for i in range(vectors.shape[0]):
        if use_allowed and not allowed[i]:
            continue
        total = np.float32(0.0)
        for j in range(d):
            difference = query[j] - vectors[i, j]
            total += difference * difference
        out[i] = total
