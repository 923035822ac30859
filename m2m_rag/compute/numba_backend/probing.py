"""Probing kernels: choose the clusters of a route that promise most, scan them, pool their rows.

Where a query's samples fall at recall@10 of 0.95 (100,000 texts, d = 384, some 33 µs in the
kernel): scan of 3,050 codes 25 %, asking for 33 vectors and reading them 18, the codes of the fine
centroids 8, their 8-bit form 4, ten canonical scores 4; the rest is spread thin. Asked again and
again for the same query, so that all of it lay in the cache, a search took 19 µs, and 40 at 0.99.

While a cluster is scanned, memory is asked for the next one's codes, a block for each one scanned,
and for its rows' numbers. Without that, 18 % of the samples waited for codes and 4 % for row
numbers. In turns, on cores that others used, calls from Python take 12 % less CPU time with it at
0.95 and 15 % less at 0.99 (medians of 40 pairs; two copies of one program differed by 2 %). Asking
during the pilot's scan, too, gained nothing that could be told from that, nor did asking for the
first line of a vector when its row enters the pool or 12 places before it is read, though 4 % of
the samples wait there for an address to be translated.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import (
    FACT,
    LANES,
    LOST,
    RANK_PENALTY,
    WORD_BITS,
)
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.intrinsics import (
    as_addresses,
    as_float32s,
    as_int32s,
    lowest_bit,
    prefetch,
    scan_block,
)
from m2m_rag.compute.numba_backend.packing import (
    FIELD,
    L2,
    RECORD_BLOCKS,
    RECORD_COUNT,
    RECORD_ROWS,
)
from m2m_rag.compute.numba_backend.pool import CLUSTERS, CODES, push, read, read_pool
from m2m_rag.compute.numba_backend.routing import LINE, penalised, record_of, widen
from m2m_rag.compute.numba_backend.vectors import ask

F32 = NDArray[np.float32]
_METRIC, _DIMENSION, _PADDED = FIELD.metric, FIELD.dimension, FIELD.padded
_BLOCK_BYTES, _TABLE = FIELD.block_bytes, FIELD.table
_KEY_BIAS, _LENGTH, _NORM2 = FACT.key_bias, FACT.length, FACT.norm2
_MIDDLE, _WIDTH = FACT.middle, FACT.width
_PENALTY, _LOST = np.float32(RANK_PENALTY), np.float32(LOST)
_NOTHING = np.float32(0.0)
_UNSEEN = np.float32(-np.inf)


@kernel(inlined=True)
def is_wanted(row: Any, n_rows: int, allowed: Any) -> Any:
    """Tell whether a lane's row exists, is one of the first `n_rows` and is allowed."""
    return 0 <= row < n_rows and (allowed.shape[0] == 0 or allowed[row])


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
    base: Any, allowed: Any, n_rows: int, estimates_at: Any, values: F32, rows: Any,
) -> None:  # fmt: skip
    """Keep the rows of one cluster that have the best estimates."""
    n_words, block_bytes = fields[_PADDED] // WORD_BITS, fields[_BLOCK_BYTES]
    of_lane, estimates = as_int32s(lanes), as_float32s(estimates_at)
    for b in range(n_blocks):
        mask = scan_block(
            block + np.uint64(b * block_bytes), planes, n_words, step, _NOTHING, along, base,
            values[0], estimates_at,
        )  # fmt: skip
        while mask:
            lane = lowest_bit(mask)
            mask &= mask - 1
            row = np.int64(of_lane[LANES * b + lane])
            if estimates[lane] > values[0] and is_wanted(row, n_rows, allowed):
                push(values, rows, estimates[lane], row)


@kernel(inlined=True)
def _ask_block(block: Any, lanes: Any, b: int, block_bytes: int) -> None:
    """Ask memory for block b of a cluster and for its rows."""
    for byte in range(0, block_bytes, LINE):
        prefetch(block + np.uint64(b * block_bytes + byte))
    prefetch(lanes + np.uint64(4 * LANES * b))


@kernel(inlined=True)
def _collect(
    record: Any, n_blocks: int, following: Any, n_following: int, fields: Any, planes: Any,
    step: Any, along: Any, base: Any, reach: Any, slack: Any, query: F32, norm2: Any,
    segments: Any, allowed: Any, n_rows: int, estimates_at: Any, room: Any, least: Any,
    n_pool: int, rows: Any, work: Any,
) -> int:  # fmt: skip
    """Put the rows of one cluster whose estimate plus bound passes the bar into the pool.

    Return how many are in it; a full pool is read. `least` is the pilot's least estimate. Memory is
    asked for the first `n_following` blocks of the cluster whose record is `following`.
    """
    n_words, block_bytes = fields[_PADDED] // WORD_BITS, fields[_BLOCK_BYTES]
    block, lanes = as_addresses(record)[RECORD_BLOCKS], as_addresses(record)[RECORD_ROWS]
    next_block = as_addresses(following)[RECORD_BLOCKS]
    next_lanes = as_addresses(following)[RECORD_ROWS]
    of_lane, estimates = as_int32s(lanes), as_float32s(estimates_at)
    for b in range(n_blocks, n_following):
        _ask_block(next_block, next_lanes, b, block_bytes)
    for b in range(n_blocks):
        if b < n_following:
            _ask_block(next_block, next_lanes, b, block_bytes)
        here = block + np.uint64(b * block_bytes)
        mask = scan_block(
            here, planes, n_words, step, reach, along, base, room.values[0] - slack,
            estimates_at,
        )  # fmt: skip
        while mask:
            lane = lowest_bit(mask)
            mask &= mask - 1
            row = np.int64(of_lane[LANES * b + lane])
            if is_wanted(row, n_rows, allowed):
                if n_pool == room.rows.shape[0]:
                    read_pool(
                        n_pool, least, slack, query, norm2, fields, segments, room, rows, work
                    )
                    n_pool = 0
                scale = as_float32s(here + np.uint64(block_bytes - 8 * LANES))[lane]
                room.estimates[n_pool] = estimates[lane]
                room.most[n_pool] = estimates[lane] + scale * reach
                room.rows[n_pool] = row
                n_pool += 1
    return n_pool


@kernel(inlined=True)
def _enter(t: int, table: Any, room: Any) -> Any:
    """Write what scanning the cluster at place t of the route needs; return its blocks."""
    at = room.order[t]
    record = record_of(table, np.int64(room.numbers[at]))
    facts = as_float32s(record)
    room.bases[t] = (room.keys[at] - facts[_KEY_BIAS]) * facts[_LENGTH]
    room.counts[t] = as_int32s(record)[RECORD_COUNT]
    return room.counts[t]


@kernel(inlined=True)
def _choose(
    first: int, last: int, bar: Any, threshold: Any, table: Any, norm2: Any, metric: int,
    numbers: Any, order: Any, bases: F32, counts: Any,
) -> int:  # fmt: skip
    """Keep those of the clusters at `first` to `last` - 1 whose promise reaches the threshold.

    Return where they end.
    """
    kept = first
    threshold, doubling = penalised(threshold, first)
    for t in range(first, last):
        if 1 + t == 2 * doubling:
            doubling, threshold = 2 * doubling, threshold + _PENALTY
        number = np.int64(numbers[order[t]])
        facts = as_float32s(record_of(table, number))
        along, base, distance2 = aim(bases[t], facts[_NORM2], norm2, metric)
        above = facts[_MIDDLE] * along + base - bar
        if not above >= threshold * (facts[_WIDTH] * np.sqrt(max(distance2, _NOTHING))):
            continue
        order[kept], bases[kept], counts[kept] = order[t], bases[t], counts[t]
        kept += 1
    return kept


@kernel(inlined=True)
def _count(counts: Any, work: Any) -> None:
    """Add up what was probed."""
    work[CLUSTERS] += counts.shape[0]
    for t in range(counts.shape[0]):
        work[CODES] += LANES * counts[t]


@kernel()
def probe(
    query: F32, step: Any, fields: Any, segments: Any, allowed: Any, n_rows: int, n_route: int,
    n_probe: int, threshold: Any, n_pilot_codes: int, epsilon: Any, spread2: Any, slack: Any,
    norm2: Any, codes_only: bool, room: Any, rows: Any, work: Any,
) -> None:  # fmt: skip
    """Fill the heap `room.values`, `rows` with the best of the first `n_probe` clusters of a route.

    The route's first `n_route` candidates are in the room; `spread2` is the squared spread. With
    `codes_only`, estimates are kept and nothing is read. The clusters that were probed come first
    in `room.order`.
    """
    table, metric = fields[_TABLE], fields[_METRIC]
    numbers, order, bases, counts = room.numbers, room.order, room.bases, room.counts
    planes_at, estimates_at = np.uint64(room.planes.ctypes.data), np.uint64(room.lanes.ctypes.data)
    values, pilot = room.values, room.pilot
    values[:], rows[:] = _UNSEEN, -1

    n_pilot, n_codes = 0, 0
    while n_pilot < n_route and n_codes < n_pilot_codes:
        n_codes += LANES * _enter(n_pilot, table, room)
        n_pilot += 1
    n = max(n_pilot, min(n_route, n_probe))
    for t in range(n_pilot, n):
        _enter(t, table, room)
    for phase in range(2 if codes_only else 1):
        for t in range(n_pilot if phase == 1 else 0, n if phase == 1 else n_pilot):
            number = np.int64(numbers[order[t]])
            record = record_of(table, number)
            places = as_addresses(record)
            along, base, _ = aim(bases[t], as_float32s(record)[_NORM2], norm2, metric)
            _sweep_codes(
                places[RECORD_BLOCKS], places[RECORD_ROWS], counts[t], fields, planes_at, step,
                along, base, allowed, n_rows, estimates_at, values, rows,
            )  # fmt: skip
        if phase == 0:
            if not codes_only:
                for i in range(rows.shape[0]):
                    if rows[i] >= 0:
                        ask(rows[i], segments, 4 * fields[_DIMENSION])
            if threshold > _UNSEEN:
                n_route = widen(n_route, values[0], threshold, fields, norm2, room)
                for t in range(n, min(n_route, n_probe)):
                    _enter(t, table, room)
                n = _choose(
                    n_pilot, max(n, min(n_route, n_probe)), values[0], threshold, table, norm2,
                    metric, numbers, order, bases, counts,
                )  # fmt: skip
    _count(counts[:n], work)
    if codes_only:
        return
    least = values[0]
    for i in range(rows.shape[0]):
        pilot[i] = rows[i]
    values[:], rows[:] = _UNSEEN, -1
    for i in range(pilot.shape[0]):
        if pilot[i] >= 0:
            read(pilot[i], query, room.used, norm2, fields, segments, values, rows, work)
    n_pool = 0
    for t in range(n):
        record = record_of(table, np.int64(numbers[order[t]]))
        following = record_of(table, np.int64(numbers[order[min(t + 1, n - 1)]]))
        along, base, distance2 = aim(bases[t], as_float32s(record)[_NORM2], norm2, metric)
        reach = epsilon * np.sqrt(spread2 * max(distance2, _NOTHING) + _LOST * norm2)
        n_pool = _collect(
            record, counts[t], following, counts[t + 1] if t + 1 < n else 0, fields, planes_at,
            step, along, base, reach, slack, query, norm2, segments, allowed, n_rows, estimates_at,
            room, least, n_pool, rows, work,
        )  # fmt: skip
    read_pool(n_pool, least, slack, query, norm2, fields, segments, room, rows, work)
