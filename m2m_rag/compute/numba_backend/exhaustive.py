"""The exact search kernel: every code is scanned, every vector that a proof cannot exclude is read.

With the residual r = x - c of a code, its signs s, p = |r|_1 / D and w = r - p s (orthogonal to s),
for the rotated query q and T = <s, q - c>, Q = |q - c|::

    <q - c, r> = p T + <w, q - c>,    |<w, q - c>| <= |w| sqrt(Q² - T² / D) <= |w| Q

The code keeps f = |r|² / |r|_1. With the share a² = |r|_1² / (|r|² D): p = a² f and |w| = f a
sqrt(1 - a²) sqrt(D), which grows as a² falls towards 1/2. The estimate takes f T for p T, so with
the cluster's least share A the value is at most::

    estimate + f (1 - A) max(0, -T) + f sqrt(A (1 - A) D) Q    (1/2 for the root where A < 1/2)

where -T is at most the cluster's largest <s, c> less <s, q>. The query is quantised to 8 planes;
what that changes, at most |q - q'|_1 in <s, q>, is added, and so are the roundings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import FACT, FINE_PLANES, FINE_SPACING, LANES, WORD_BITS
from m2m_rag.compute.numba_backend.codes import quantise
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.intrinsics import (
    as_addresses,
    as_float32s,
    as_int32s,
    scan_block_finely,
)
from m2m_rag.compute.numba_backend.packing import (
    FIELD,
    L2,
    RECORD_BLOCKS,
    RECORD_COUNT,
    RECORD_ROWS,
)
from m2m_rag.compute.numba_backend.pool import CODES, VECTORS, push
from m2m_rag.compute.numba_backend.probing import aim, is_wanted
from m2m_rag.compute.numba_backend.routing import dot_int8, record_of
from m2m_rag.compute.numba_backend.vectors import address_of, ask, value_of

F32 = NDArray[np.float32]
_METRIC, _DIMENSION, _PADDED, _N_FINE = FIELD.metric, FIELD.dimension, FIELD.padded, FIELD.n_fine
_BLOCK_BYTES, _TABLE, _FINE = FIELD.block_bytes, FIELD.table, FIELD.fine
_NOTHING = np.float32(0.0)
_KEY_SCALE, _LENGTH, _NORM2 = FACT.key_scale, FACT.length, FACT.norm2
_SIGN_SUM, _SHARE = FACT.sign_sum, FACT.share
ASIDE = 16
"""Rows prefetched ahead of being read."""


@kernel()
def _missing(rotated: F32, levels: Any, step: Any, n_planes: int) -> float:
    """Return |q - q'|_1 for the query as quantised."""
    total = 0.0
    top = np.float32(2**n_planes - 1)
    for j in range(rotated.shape[0]):
        level = step * (np.float32(2.0) * np.float32(levels[j]) - top)
        total += np.float64(abs(rotated[j] - level))
    return total


@kernel()
def sweep_all(
    query: F32, length: float, fields: Any, segments: Any, allowed: Any, n_indexed: int,
    n_rows: int, bar: Any, slack: Any, room: Any, rows: Any, read_values: F32, read_rows: Any,
    work: Any,
) -> int:  # fmt: skip
    """Read every row that may be among the best k; return how many were read.

    Rows from `n_indexed` to `n_rows` - 1 have no codes and are all read.

    `bar` is a value that at least k rows are known to reach, or -inf. `room.values` and `rows` are
    the heap of the k best; all that was read goes to `read_values`, `read_rows`.
    """
    n_fine, padded = fields[_N_FINE], fields[_PADDED]
    block_bytes, row_bytes = fields[_BLOCK_BYTES], 4 * fields[_DIMENSION]
    used, rotated, values, estimates = room.used, room.rotated, room.values, room.lanes
    levels, planes = room.levels, room.planes
    n_words = padded // WORD_BITS
    step = quantise(rotated, length, FINE_SPACING, FINE_PLANES, levels, planes)
    missing = np.float32(2.0 * _missing(rotated, levels, step, FINE_PLANES) * (1.0 + 1e-6))
    norm2 = np.float32(length * length)
    planes_at, estimates_at = np.uint64(planes.ctypes.data), np.uint64(estimates.ctypes.data)
    n_read, n_done = 0, 0
    for number in range(n_fine):
        record = record_of(fields[_TABLE], number)
        facts, places = as_float32s(record), as_addresses(record)
        n_blocks = np.int64(as_int32s(record)[RECORD_COUNT])
        inner = dot_int8(rotated, np.uint64(fields[_FINE] + padded * number), padded)
        base = inner * facts[_KEY_SCALE] * facts[_LENGTH]
        along, base, distance2 = aim(base, facts[_NORM2], norm2, fields[_METRIC])
        distance = np.sqrt(max(distance2, _NOTHING) + slack)
        share = np.float64(facts[_SHARE]) * (1.0 - 1e-6)
        spread = np.sqrt(share * (1.0 - share)) if share > 0.5 else 0.5
        reach = np.float32(spread * np.sqrt(padded) * (1.0 + 1e-5)) * distance + missing
        rest = np.float32(1.0 - share)
        sign_sum = facts[_SIGN_SUM]
        if fields[_METRIC] != L2:
            sign_sum *= abs(along) / facts[_NORM2]
        of_lane = as_int32s(places[RECORD_ROWS])
        work[CODES] += LANES * n_blocks
        for b in range(n_blocks):
            block = places[RECORD_BLOCKS] + np.uint64(b * block_bytes)
            scan_block_finely(
                block, planes_at, n_words, step, _NOTHING, along, base, _NOTHING, estimates_at
            )
            floats = as_float32s(block + np.uint64(block_bytes - 8 * LANES))
            for lane in range(LANES):
                placed = floats[LANES + lane] * along + base
                turned = estimates[lane] - placed  # f <s, q>
                against = rest * max(floats[lane] * sign_sum - turned, _NOTHING)
                if not estimates[lane] + against + floats[lane] * reach >= bar - slack:
                    continue
                row = np.int64(of_lane[LANES * b + lane])
                if not is_wanted(row, n_indexed, allowed):
                    continue
                ask(row, segments, row_bytes)
                read_rows[n_read] = row
                n_read += 1
                if n_read - n_done == ASIDE:
                    address = address_of(read_rows[n_done], segments, row_bytes)
                    value = value_of(query, used, norm2, address, fields[_METRIC])
                    read_values[n_done] = value
                    if value > values[0]:
                        push(values, rows, value, read_rows[n_done])
                        bar = max(bar, values[0] - slack)
                    n_done += 1
    for later in range(n_indexed, n_rows):
        if allowed.shape[0] == 0 or allowed[later]:
            read_rows[n_read] = later
            n_read += 1
    for i in range(n_done, n_read):
        address = address_of(read_rows[i], segments, row_bytes)
        read_values[i] = value_of(query, used, norm2, address, fields[_METRIC])
        if read_values[i] > values[0]:
            push(values, rows, read_values[i], read_rows[i])
    work[VECTORS] += n_read
    return n_read
