"""Top-k kernels: which rows could be among the best k, given scores with error bounds.

A scan gives an approximate value s[i] with abs(s[i] - true[i]) <= e[i]. The k-th largest lower
bound s - e is a score that at least k rows reach, so a row whose upper bound s + e lies below it
is not among the best k. Every other row is a candidate and is scored canonically. A NaN (a row
whose norm a float32 scan cannot handle) is always a candidate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.numba_backend.compiling import kernel

F32 = NDArray[np.float32]


@kernel()
def _sift_down(heap: F32, size: int) -> None:
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[at] <= heap[child]:
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@kernel()
def _sift_up(heap: F32, at: int) -> None:
    while at > 0:
        parent = (at - 1) // 2
        if heap[parent] <= heap[at]:
            return
        heap[at], heap[parent] = heap[parent], heap[at]
        at = parent


@kernel()
def candidates(
    values: F32, errors: F32, k: int, allowed: Any, use_allowed: bool, heap: F32, out: Any
) -> int:
    """Write the candidate rows into `out` in ascending order and return how many there are.

    `errors` has one entry per row, or a single one for all; `heap` has room for k values.
    """
    n = values.shape[0]
    stride = 1 if errors.shape[0] == n else 0
    size = 0
    for i in range(n):
        if use_allowed and not allowed[i]:
            continue
        low = values[i] - errors[i * stride]
        if size < k:
            if low == low:
                heap[size] = low
                _sift_up(heap, size)
                size += 1
        elif low > heap[0]:
            heap[0] = low
            _sift_down(heap, k)
    bar = heap[0] if size == k else np.float32(-np.inf)
    found = 0
    for i in range(n):
        if use_allowed and not allowed[i]:
            continue
        if not values[i] + errors[i * stride] < bar:
            out[found] = i
            found += 1
    return found
