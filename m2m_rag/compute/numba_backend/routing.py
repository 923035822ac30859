"""Routing kernels: from a query to the fine clusters to probe, best first.

At 100,000 texts (64 coarse, 1,264 fine clusters, d = 384) one query costs: rotation and planes
2 µs, 64 exact products 0.8, the codes of all fine centroids 2.5, the cut 0.8, 60 products with
8-bit centroids 0.8, sorting 0.5. A matrix product of all fine centroids with a batch of queries
would cost 15 µs a query, so batches are routed one by one as well. Routing by coarse centroids
alone (12 of 64) lost recall; scanning the fine centroids' codes does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray  # type: ignore[attr-defined]
from numpy.typing import NDArray

from m2m_rag.compute.clustered import (
    CUT_STEPS,
    FACT,
    LANES,
    PLANES,
    RANK_PENALTY,
    SPACING,
    UNBIASED,
    WORD_BITS,
)
from m2m_rag.compute.numba_backend.codes import quantise, rotate
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.distances import SCAN_FLAGS
from m2m_rag.compute.numba_backend.intrinsics import (
    as_float32s,
    as_int8s,
    as_int32s,
    prefetch,
    scan_block,
)
from m2m_rag.compute.numba_backend.packing import COSINE, FIELD, L2, RECORD_BYTES
from m2m_rag.compute.numba_backend.sorting import sort_by_key

F32 = NDArray[np.float32]
_KEY_SCALE, _KEY_BIAS = FACT.key_scale, FACT.key_bias
(_METRIC, _DIMENSION, _PADDED, _ROUNDS, _WINDOW, _N_COARSE, _N_FINE, _N_BLOCKS, _BLOCK_BYTES) = (
    FIELD[:9]
)
(
    _SIGNS,
    _ORDER,
    _CENTER,
    _COARSE,
    _COARSE_FIRST,
    _CENTROID_BLOCKS,
    _CENTROID_SLOTS,
    _FINE,
    _TABLE,
) = FIELD[10:19]
_OUTLOOKS = FIELD.outlooks
_PENALTY = np.float32(RANK_PENALTY)
LARGE = np.float32(3e38)
"""Values are below it; an unused lane's is -inf."""
LINE = 64
"""Bytes of a cache line."""
_NO_NANS = {"reassoc", "contract", "nsz", "nnan"}


@kernel(fastmath=SCAN_FLAGS, inlined=True)
def dot(query: F32, address: Any, n: int) -> Any:
    """Return <query, float32 vector at the address>."""
    x = as_float32s(address)
    total = np.float32(0.0)
    for j in range(n):
        total += query[j] * x[j]
    return total


@kernel(fastmath=SCAN_FLAGS, inlined=True)
def dot_int8(query: F32, address: Any, n: int) -> Any:
    """Return <query, int8 vector at the address>."""
    x = as_int8s(address)
    total = np.float32(0.0)
    for j in range(n):
        total += query[j] * np.float32(x[j])
    return total


@kernel(fastmath=_NO_NANS, inlined=True)
def _count_above(values: F32, cut: Any) -> Any:
    count = np.int32(0)
    for i in range(values.shape[0]):
        count += np.int32(values[i] > cut)
    return np.int64(count)


@kernel(fastmath=_NO_NANS, inlined=True)
def _range(values: F32) -> Any:
    """Return the least finite value and the largest."""
    most = -LARGE
    least = LARGE
    for i in range(values.shape[0]):
        most = values[i] if values[i] > most else most
        value = values[i] if values[i] > -LARGE else LARGE
        least = value if value < least else least
    return least, most


@kernel()
def find_cut(values: F32, wanted: int) -> Any:
    """Return a cut that at least `wanted` values pass, but few more.

    Bisection, `CUT_STEPS` at most. Counting is vectorised: a step over 1,500 values costs 70 ns, a
    quickselect 4 µs.
    """
    low, high = _range(values)
    low = np.float32(low - np.float32(1e-6) * abs(low))
    if _count_above(values, low) <= wanted:
        return -LARGE
    for _ in range(CUT_STEPS):
        middle = (low + high) * np.float32(0.5)
        count = _count_above(values, middle)
        if count >= wanted:
            low = middle
            if count <= wanted + wanted // 8:
                return low
        else:
            high = middle
    return low


@kernel(inlined=True)
def _centred(query: F32, fields: Any, norm2: float, out: F32) -> Any:
    """Write the query as the index sees it, of unit length under cosine, centred under l2.

    Return the length of that.
    """
    if fields[_METRIC] == COSINE:
        scale = 1.0 / np.sqrt(norm2) if norm2 > 0.0 else 0.0
        for j in range(query.shape[0]):
            out[j] = np.float32(np.float64(query[j]) * scale)
        return 1.0 if norm2 > 0.0 else 0.0
    if fields[_METRIC] == L2:
        center = as_float32s(np.uint64(fields[_CENTER]))
        total = 0.0
        for j in range(query.shape[0]):
            out[j] = query[j] - center[j]
            total += np.float64(out[j]) * np.float64(out[j])
        return np.sqrt(total)
    for j in range(query.shape[0]):
        out[j] = query[j]
    return np.sqrt(norm2)


@kernel(allocates=True)
def prepare(query: F32, fields: Any, norm2: float, room: Any) -> Any:
    """Write the query as used, rotated, and its planes; return its length and its step."""
    length = _centred(query, fields, norm2, room.used)
    shape = (fields[_ROUNDS], fields[_PADDED])
    signs = carray(as_float32s(np.uint64(fields[_SIGNS])), shape)
    order = carray(as_int32s(np.uint64(fields[_ORDER])), shape)
    rotate(room.used, signs, order, fields[_WINDOW], room.spare, room.rotated)
    step = quantise(room.rotated, length, SPACING, PLANES, room.levels, room.planes)
    return length, step * np.float32(UNBIASED)


@kernel()
def estimate_centroids(rotated: F32, planes: Any, step: Any, fields: Any, out: F32) -> None:
    """Write the estimated inner product of the query with each fine centroid, by slot."""
    padded = fields[_PADDED]
    n_words = padded // WORD_BITS
    first = as_int32s(np.uint64(fields[_COARSE_FIRST]))
    planes_at, out_at = np.uint64(planes.ctypes.data), out.ctypes.data
    nothing = np.float32(0.0)
    for c in range(fields[_N_COARSE]):
        base = dot(rotated, np.uint64(fields[_COARSE] + 4 * padded * c), padded)
        for block in range(first[c], first[c + 1]):
            scan_block(
                np.uint64(fields[_CENTROID_BLOCKS] + block * fields[_BLOCK_BYTES]),
                planes_at,
                n_words,
                step,
                nothing,
                np.float32(1.0),
                base,
                nothing,
                np.uint64(out_at + 4 * LANES * block),
            )


@kernel(inlined=True)
def record_of(table: Any, number: Any) -> Any:
    """Return where a cluster's record begins."""
    return np.uint64(table + RECORD_BYTES * number)


@kernel()
def _compare(first: int, last: int, fields: Any, room: Any) -> None:
    """Write the keys of the clusters at `first` to `last` - 1, and their order among each other."""
    padded, numbers, keys, order = fields[_PADDED], room.numbers, room.keys, room.order
    for i in range(first, last):
        number = np.int64(numbers[i])
        if i + 4 < last:
            ahead = fields[_FINE] + padded * np.int64(numbers[i + 4])
            for byte in range(0, padded, LINE):
                prefetch(np.uint64(ahead + byte))
        inner = dot_int8(room.rotated, np.uint64(fields[_FINE] + padded * number), padded)
        facts = as_float32s(record_of(fields[_TABLE], number))
        key = inner * facts[_KEY_SCALE] + facts[_KEY_BIAS]
        keys[i] = min(max(key, -LARGE), LARGE) if key == key else -LARGE
    sort_by_key(
        keys[first:last], numbers[first:last], room.bins, room.first[: last - first],
        order[first:last],
    )  # fmt: skip
    for i in range(first, last):
        order[i] += first


@kernel()
def route(step: Any, fields: Any, n_candidates: int, room: Any) -> int:
    """Write the first candidates' keys and numbers, and their order; return how many there are.

    Cluster ``room.numbers[room.order[0]]`` is the best. Their estimates are struck out.
    """
    n_fine, values, numbers = fields[_N_FINE], room.slots, room.numbers
    slots = as_int32s(np.uint64(fields[_CENTROID_SLOTS]))
    found = 0
    if n_candidates < n_fine:
        estimate_centroids(room.rotated, room.planes, step, fields, values)
        cut = find_cut(values, n_candidates)
        for i in range(values.shape[0]):
            if values[i] > cut:
                numbers[found] = slots[i]
                values[i] = -LARGE
                found += 1
    else:
        for i in range(n_fine):
            numbers[i] = i
        found = n_fine
    _compare(0, found, fields, room)
    return found


@kernel(fastmath=_NO_NANS, inlined=True)
def _look_out(
    values: F32, outlooks: Any, n: int, bar: Any, wanted: Any, norm2: Any, fall: Any, out: F32
) -> None:
    """Write how far the mean value of each cluster's rows passes what the threshold wants."""
    for i in range(n):
        key = values[i]
        distance2 = norm2 - (outlooks[2 * n + i] * key + fall) * key
        above = outlooks[i] * key + outlooks[n + i] - bar
        passed = above - wanted * outlooks[3 * n + i] * np.sqrt(max(distance2, np.float32(0.0)))
        out[i] = passed if key > -LARGE else -LARGE


@kernel()
def widen(found: int, bar: Any, threshold: Any, fields: Any, norm2: Any, room: Any) -> int:
    """Add the clusters whose estimated keys promise enough; return how many there are now.

    `found` came from `route`. 1,300 clusters take 0.8 µs, and those added 0.04 each: comparing a
    fixed number of centroids, enough for any query, took twice as many.
    """
    n, numbers, passed = room.slots.shape[0], room.numbers, room.outlooks
    if found >= fields[_N_FINE]:
        return found
    slots = as_int32s(np.uint64(fields[_CENTROID_SLOTS]))
    fall = np.float32(2.0) if fields[_METRIC] == L2 else np.float32(0.0)
    wanted, _ = penalised(threshold, found)
    outlooks = as_float32s(np.uint64(fields[_OUTLOOKS]))
    _look_out(room.slots, outlooks, n, bar, wanted, norm2, fall, passed)
    last = found
    for i in range(n):
        if passed[i] >= np.float32(0.0):
            numbers[last] = slots[i]
            last += 1
    if last > found:
        _compare(found, last, fields, room)
    return last


@kernel(inlined=True)
def penalised(threshold: Any, place: int) -> Any:
    """Return what the threshold asks for at a place of the route, and 2^floor(log2(1 + place))."""
    doubling = 1
    while 2 * doubling <= 1 + place:
        doubling, threshold = 2 * doubling, threshold + _PENALTY
    return threshold, doubling
