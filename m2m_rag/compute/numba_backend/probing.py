"""Probing kernels: scan the clusters of a route, read what may belong to the best k.

Where a query's time goes at recall@10 of 0.95 (100,000 texts, d = 384, 40 µs): call from Python and
query 5 µs, route 5, scan of 3,500 codes 8, some 50 vectors of 1.5 KB read from memory 12, the ten
canonical scores 2, the rest waiting for codes in L3. What decided: vectors read one by one cost
0.25 µs each, prefetched and read eight at a time half of that; without the pilot, everything in
the first cluster is read (94 vectors instead of 50).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import FACT, LANES, PILOT_ROWS, QUEUE, WORD_BITS
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.distances import SCAN_FLAGS
from m2m_rag.compute.numba_backend.intrinsics import (
    as_addresses,
    as_float32s,
    as_int32s,
    prefetch,
    scan_block,
)
from m2m_rag.compute.numba_backend.packing import COSINE, FIELD, L2
from m2m_rag.compute.numba_backend.routing import LINE, dot

F32 = NDArray[np.float32]
_METRIC, _DIMENSION, _PADDED, _N_FINE = FIELD.metric, FIELD.dimension, FIELD.padded, FIELD.n_fine
_BLOCK_BYTES, _FACTS, _BLOCKS, _ROWS, _SIZES = (
    FIELD.block_bytes, FIELD.facts, FIELD.blocks, FIELD.rows, FIELD.sizes
)  # fmt: skip
_KEY_BIAS, _LENGTH, _NORM2 = FACT.key_bias, FACT.length, FACT.norm2
CLUSTERS, CODES, VECTORS, ASKED = range(4)
"""Positions in `work`: what a query cost, and what was put into the queue."""
_NOTHING, _ANYTHING = np.float32(0.0), np.float32(np.inf)
_UNSEEN = np.float32(-np.inf)
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
def is_wanted(row: Any, n_rows: int, allowed: Any) -> Any:
    """Tell whether a lane's row exists, is one of the first `n_rows` and is allowed."""
    return 0 <= row < n_rows and (allowed.shape[0] == 0 or allowed[row])


@kernel(inlined=True)
def push(values: F32, rows: Any, value: Any, row: Any) -> None:
    """Replace the least value of a heap."""
    k = values.shape[0]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= k:
            break
        if child + 1 < k and values[child + 1] < values[child]:
            child += 1
        if value <= values[child]:
            break
        values[at], rows[at] = values[child], rows[child]
        at = child
    values[at], rows[at] = value, row


@kernel(inlined=True)
def _read(
    row: Any, query: F32, used: F32, norm2: Any, fields: Any, segments: Any, values: F32,
    rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read a row's vector and keep it when it is among the best."""
    address = address_of(row, segments, 4 * fields[_DIMENSION])
    value = value_of(query, used, norm2, address, fields[_METRIC])
    work[VECTORS] += 1
    if value > values[0]:
        push(values, rows, value, row)


@kernel(inlined=True)
def _read_queue(
    query: F32, used: F32, norm2: Any, fields: Any, segments: Any, queue: Any, values: F32,
    rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read what is still waiting, oldest first."""
    waiting = min(work[ASKED], QUEUE)
    for i in range(work[ASKED] - waiting, work[ASKED]):
        _read(queue[i % QUEUE], query, used, norm2, fields, segments, values, rows, work)
    work[ASKED] = 0


@kernel(inlined=True)
def ask(row: Any, segments: Any, row_bytes: int) -> None:
    address = address_of(row, segments, row_bytes)
    for byte in range(0, row_bytes, LINE):
        prefetch(address + np.uint64(byte))


@kernel()
def read_rows(
    first: int, stop: int, query: F32, used: F32, norm2: Any, fields: Any, segments: Any,
    allowed: Any, values: F32, rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read rows `first` to `stop` - 1, those that the index does not hold yet."""
    for row in range(first, stop):
        if allowed.shape[0] == 0 or allowed[row]:
            _read(row, query, used, norm2, fields, segments, values, rows, work)


@kernel(inlined=True)
def aim(base: Any, norm2: Any, query_norm2: Any, metric: int) -> Any:
    """Return along and base of the code scan, and the squared |q - c| or |q - part along c|.

    `base` is <q, c>; `norm2` and `query_norm2` are |c|² and |q|².
    """
    if metric == L2:
        return np.float32(1.0), base, query_norm2 + norm2 - np.float32(2.0) * base
    return base, _NOTHING, query_norm2 - base * base / norm2


@kernel(inlined=True)
def _sweep_codes(
    block: Any, lanes: Any, n_blocks: int, fields: Any, planes: Any, step: Any, along: Any,
    base: Any, allowed: Any, n_rows: int, estimates: F32, values: F32, rows: Any,
) -> None:  # fmt: skip
    """Keep the rows of one cluster that have the best estimates."""
    n_words, block_bytes = fields[_PADDED] // WORD_BITS, fields[_BLOCK_BYTES]
    of_lane = as_int32s(lanes)
    for b in range(n_blocks):
        mask = scan_block(
            block + np.uint64(b * block_bytes), np.uint64(planes.ctypes.data), n_words, step,
            _NOTHING, along, base, values[0], np.uint64(estimates.ctypes.data),
        )  # fmt: skip
        lane = 0
        while mask:
            row = np.int64(of_lane[LANES * b + lane])
            if mask & 1 and estimates[lane] > values[0] and is_wanted(row, n_rows, allowed):
                push(values, rows, estimates[lane], row)
            mask >>= 1
            lane += 1


@kernel(inlined=True)
def _sweep(
    block: Any, lanes: Any, n_blocks: int, ahead: Any, ahead_blocks: int, fields: Any, planes: Any,
    step: Any, along: Any, base: Any, reach: Any, slack: Any, bar: Any, ceiling: Any, query: F32,
    used: F32, norm2: Any, segments: Any, allowed: Any, n_rows: int, estimates: F32, queue: Any,
    values: F32, rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read the rows of one cluster whose estimate plus bound passes the bar.

    The bar is the heap's least value, or `bar` where that is not NaN. Rows with estimates above
    `ceiling` are left out. Meanwhile the next cluster's codes, at `ahead`, are prefetched.
    """
    n_words, block_bytes = fields[_PADDED] // WORD_BITS, fields[_BLOCK_BYTES]
    row_bytes = 4 * fields[_DIMENSION]
    of_lane = as_int32s(lanes)
    is_fixed = bar == bar
    for b in range(n_blocks):
        if b < ahead_blocks:
            for byte in range(0, block_bytes, LINE):
                prefetch(ahead + np.uint64(b * block_bytes + byte))
        mask = scan_block(
            block + np.uint64(b * block_bytes), np.uint64(planes.ctypes.data), n_words, step,
            reach, along, base, bar if is_fixed else values[0] - slack,
            np.uint64(estimates.ctypes.data),
        )  # fmt: skip
        lane = 0
        while mask:
            row = np.int64(of_lane[LANES * b + lane])
            if mask & 1 and estimates[lane] <= ceiling and is_wanted(row, n_rows, allowed):
                ask(row, segments, row_bytes)
                place = work[ASKED] % QUEUE
                if work[ASKED] >= QUEUE:
                    _read(queue[place], query, used, norm2, fields, segments, values, rows, work)
                queue[place] = row
                work[ASKED] += 1
            mask >>= 1
            lane += 1


@kernel()
def probe(
    query: F32, used: F32, planes: Any, step: Any, fields: Any, segments: Any,
    allowed: Any, n_rows: int, keys: F32, numbers: Any, order: Any, n_probe: int, breadth: Any,
    slack: Any, norm2: Any, codes_only: bool, bases: F32, counts: Any, estimates: F32, queue: Any,
    values: F32, rows: Any, work: Any,
) -> None:  # fmt: skip
    """Fill the heap `values`, `rows` with the best of the first `n_probe` clusters of the route.

    `breadth` is epsilon * spread. With `codes_only`, estimates are kept and nothing is read.
    """
    k, n_fine, metric = values.shape[0], fields[_N_FINE], fields[_METRIC]
    facts = as_float32s(np.uint64(fields[_FACTS]))
    blocks = as_addresses(np.uint64(fields[_BLOCKS]))
    lanes = as_addresses(np.uint64(fields[_ROWS]))
    sizes = as_int32s(np.uint64(fields[_SIZES]))
    values[:], rows[:] = _UNSEEN, -1

    n_pilot, n_codes, t = 0, 0, 0
    while t < keys.shape[0] and (t < n_probe or n_codes < PILOT_ROWS * k):
        number = np.int64(numbers[order[t]])
        key = keys[order[t]] - facts[_KEY_BIAS * n_fine + number]
        bases[t] = key * facts[_LENGTH * n_fine + number]
        counts[t] = (np.int64(sizes[number]) + LANES - 1) // LANES
        if n_codes < PILOT_ROWS * k:
            n_pilot += 1
        n_codes += LANES * counts[t]
        t += 1
    n_probe = t
    work[CLUSTERS] += n_probe
    work[CODES] += n_codes
    for t in range(n_probe if codes_only else n_pilot):
        number = np.int64(numbers[order[t]])
        along, base, _ = aim(bases[t], facts[_NORM2 * n_fine + number], norm2, metric)
        _sweep_codes(
            blocks[number], lanes[number], counts[t], fields, planes, step, along, base, allowed,
            n_rows, estimates, values, rows,
        )  # fmt: skip
    if codes_only:
        return
    ceiling = np.float32(values[0] - np.float32(1e-6) * abs(values[0]) - np.float32(1e-30))
    values[:], rows[:] = _UNSEEN, -1
    for t in range(n_pilot):
        number = np.int64(numbers[order[t]])
        along, base, _ = aim(bases[t], facts[_NORM2 * n_fine + number], norm2, metric)
        _sweep(
            blocks[number], lanes[number], counts[t], np.uint64(0), 0, fields, planes, step,
            along, base, _NOTHING, slack, ceiling, _ANYTHING, query, used, norm2, segments, allowed,
            n_rows, estimates, queue, values, rows, work,
        )  # fmt: skip
    _read_queue(query, used, norm2, fields, segments, queue, values, rows, work)
    for t in range(n_probe):
        number = np.int64(numbers[order[t]])
        following = min(t + 1, n_probe - 1)
        ahead = np.int64(numbers[order[following]])
        along, base, distance2 = aim(bases[t], facts[_NORM2 * n_fine + number], norm2, metric)
        reach = breadth * np.sqrt(max(distance2, _NOTHING))
        prefetch(lanes[ahead])
        _sweep(
            blocks[number], lanes[number], counts[t], blocks[ahead], counts[following], fields,
            planes, step, along, base, reach, slack, np.float32(np.nan),
            ceiling if t < n_pilot else _ANYTHING, query, used, norm2, segments, allowed, n_rows,
            estimates, queue, values, rows, work,
        )  # fmt: skip
    _read_queue(query, used, norm2, fields, segments, queue, values, rows, work)
