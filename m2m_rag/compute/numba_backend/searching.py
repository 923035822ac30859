"""The search kernels that a driver calls: many queries, one thread, no allocation, no GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import (
    FINE_PLANES,
    LANES,
    PILOT_ROWS,
    PLANES,
    QUEUE,
    ROUNDING,
    WORD_BITS,
)
from m2m_rag.compute.numba_backend.canonical import canonical
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.distances import squared_norms
from m2m_rag.compute.numba_backend.exhaustive import sweep_all
from m2m_rag.compute.numba_backend.intrinsics import as_float32s
from m2m_rag.compute.numba_backend.packing import FIELD, L2
from m2m_rag.compute.numba_backend.pool import CLUSTERS, PROBED, make_pool, read_rows
from m2m_rag.compute.numba_backend.probing import probe
from m2m_rag.compute.numba_backend.routing import prepare, route
from m2m_rag.compute.numba_backend.sorting import BINS

F32 = NDArray[np.float32]
_METRIC, _PADDED, _N_FINE, _N_BLOCKS = FIELD.metric, FIELD.padded, FIELD.n_fine, FIELD.n_blocks
_LENGTHS = FIELD.lengths


@kernel()
def order_hits(rows: Any, scores: Any) -> None:
    """Sort by score, best first, ties to the lower row; unused places (row -1) last."""
    for i in range(1, rows.shape[0]):
        row, score = rows[i], scores[i]
        at = i - 1
        while at >= 0 and (
            (rows[at] < 0 and row >= 0)
            or (row >= 0 and (scores[at] < score or (scores[at] == score and rows[at] > row)))
        ):
            rows[at + 1], scores[at + 1] = rows[at], scores[at]
            at -= 1
        rows[at + 1], scores[at + 1] = row, score


@kernel(allocates=True)
def route_only(query: F32, fields: Any, n_candidates: int, out: Any, out_keys: F32) -> int:
    """Write the clusters of a query's route and their keys, best first; return how many."""
    d, padded, n_fine = query.shape[0], fields[_PADDED], fields[_N_FINE]
    used, spare = np.empty(d, np.float32), np.empty(padded, np.float32)
    rotated, levels = np.empty(padded, np.float32), np.empty(padded, np.uint8)
    planes = np.empty(PLANES * (padded // WORD_BITS), np.uint64)
    slots, keys = np.empty(LANES * fields[_N_BLOCKS], np.float32), np.empty(n_fine, np.float32)
    numbers, ordered = np.empty(n_fine, np.int64), np.empty(n_fine, np.int64)
    first = np.empty(n_fine, np.int64)
    bins, norm2 = np.empty(BINS, np.int64), np.zeros(1)
    squared_norms(query.reshape(1, d), norm2)
    _, step = prepare(query, fields, norm2[0], used, spare, rotated, levels, planes)
    found = route(
        rotated, planes, step, fields, n_candidates, slots, keys, numbers, bins, first, ordered
    )
    for i in range(found):
        out[i], out_keys[i] = numbers[ordered[i]], keys[ordered[i]]
    return found


@kernel(allocates=True)
def search(
    queries: F32, fields: Any, segments: Any, n_indexed: int, allowed: Any, n_probe: int,
    n_candidates: int, epsilon: float, threshold: float, share: float, codes_only: bool, rows: Any,
    scores: Any, work: Any,
) -> None:  # fmt: skip
    """Search for each query; see `m2m_rag.compute.clustered`.

    Rows from `n_indexed` on are read one by one. `rows` and `scores` are ``(m, k)``, `work`
    ``(m, 3)`` zeros, or more: then the clusters probed are written there, too.
    """
    k, d = rows.shape[1], queries.shape[1]
    padded, n_fine, metric = fields[_PADDED], fields[_N_FINE], fields[_METRIC]
    lengths = as_float32s(np.uint64(fields[_LENGTHS]))
    n_rows = segments[segments.shape[0] - 1, 2]
    used, spare = np.empty(d, np.float32), np.empty(padded, np.float32)
    rotated, levels = np.empty(padded, np.float32), np.empty(padded, np.uint8)
    planes = np.empty(PLANES * (padded // WORD_BITS), np.uint64)
    slots = np.empty(LANES * fields[_N_BLOCKS], np.float32)
    keys, bases = np.empty(n_fine, np.float32), np.empty(n_fine, np.float32)
    numbers, ordered = np.empty(n_fine, np.int64), np.empty(n_fine, np.int64)
    first = np.empty(n_fine, np.int64)
    counts, bins = np.empty(n_fine, np.int64), np.empty(BINS, np.int64)
    estimates, found_values = np.empty(LANES, np.float32), np.empty(k, np.float32)
    queue = np.empty(QUEUE, np.int64)
    pool = make_pool(k)
    sums, norm2 = np.zeros(8), np.zeros(1)
    n_pilot_codes = int(PILOT_ROWS * k / share)
    for i in range(queries.shape[0]):
        query = queries[i]
        squared_norms(queries[i : i + 1], norm2)
        length, step = prepare(query, fields, norm2[0], used, spare, rotated, levels, planes)
        if length == 0.0 and metric != L2:
            rows[i, :] = -1
            continue
        n = route(
            rotated, planes, step, fields, n_candidates, slots, keys, numbers, bins, first, ordered
        )
        scale = length * lengths[1]
        if metric == L2:
            scale = (length + lengths[1]) ** 2
        slack = np.float32(ROUNDING * (padded + 16) * scale)
        probe(
            query, used, planes, step, fields, segments, allowed, n_indexed, keys[:n],
            numbers[:n], ordered[:n], n_probe, np.float32(threshold), n_pilot_codes,
            np.float32(epsilon) * lengths[0], slack, np.float32(length * length), codes_only,
            bases, counts, estimates, pool, queue, found_values, rows[i], work[i],
        )  # fmt: skip
        for t in range(min(work[i, CLUSTERS], work.shape[1] - PROBED)):
            work[i, PROBED + t] = numbers[ordered[t]]
        read_rows(
            n_indexed, n_rows, query, used, np.float32(length * length), fields, segments, allowed,
            found_values, rows[i], work[i],
        )  # fmt: skip
        n_found = 0
        for j in range(k):
            if rows[i, j] >= 0:
                rows[i, n_found] = rows[i, j]
                found_values[n_found] = found_values[j]
                n_found += 1
        rows[i, n_found:] = -1
        if codes_only:
            for j in range(n_found):
                value = np.float64(found_values[j])
                if metric == L2:
                    value = 0.0 - np.sqrt(max(length**2 - 2.0 * value, 0.0))
                scores[i, j] = value
        else:
            canonical(query, norm2[0], rows[i, :n_found], segments, metric, sums, scores[i])
        order_hits(rows[i, :n_found], scores[i, :n_found])


@kernel(allocates=True)
def search_exactly(
    queries: F32, fields: Any, segments: Any, n_indexed: int, allowed: Any, n_probe: int,
    n_codes: int, rows: Any, scores: Any, work: Any,
) -> None:  # fmt: skip
    """Search for each query, provably exact; see `exhaustive`. `n_codes` codes are in the index."""
    k, d = rows.shape[1], queries.shape[1]
    padded, n_fine, metric = fields[_PADDED], fields[_N_FINE], fields[_METRIC]
    lengths = as_float32s(np.uint64(fields[_LENGTHS]))
    n_rows = segments[segments.shape[0] - 1, 2]
    used, spare = np.empty(d, np.float32), np.empty(padded, np.float32)
    rotated, levels = np.empty(padded, np.float32), np.empty(padded, np.uint8)
    planes = np.empty(FINE_PLANES * (padded // WORD_BITS), np.uint64)
    slots = np.empty(LANES * fields[_N_BLOCKS], np.float32)
    keys, bases = np.empty(n_fine, np.float32), np.empty(n_fine, np.float32)
    numbers, ordered = np.empty(n_fine, np.int64), np.empty(n_fine, np.int64)
    first = np.empty(n_fine, np.int64)
    counts, bins = np.empty(n_fine, np.int64), np.empty(BINS, np.int64)
    estimates, best_values = np.empty(LANES, np.float32), np.empty(k, np.float32)
    best_rows, queue = np.empty(k, np.int64), np.empty(QUEUE, np.int64)
    room = n_codes + n_rows - n_indexed
    seen_values, seen_rows = np.empty(room, np.float32), np.empty(room, np.int64)
    pool = make_pool(k)
    sums, norm2 = np.zeros(8), np.zeros(1)
    for i in range(queries.shape[0]):
        query = queries[i]
        squared_norms(queries[i : i + 1], norm2)
        length, step = prepare(query, fields, norm2[0], used, spare, rotated, levels, planes)
        scale = length * lengths[1]
        if metric == L2:
            scale = (length + lengths[1]) ** 2
        slack = np.float32(ROUNDING * (padded + 16) * scale + 1e-37)
        n = route(
            rotated, planes, step, fields, n_probe, slots, keys, numbers, bins, first, ordered
        )
        probe(
            query, used, planes, step, fields, segments, allowed, n_indexed, keys[:n], numbers[:n],
            ordered[:n], n_probe, np.float32(-np.inf), PILOT_ROWS * k, lengths[0], slack,
            np.float32(length * length), False, bases, counts, estimates, pool, queue, best_values,
            best_rows, work[i],
        )  # fmt: skip
        bar = best_values[0] - slack
        best_values[:], best_rows[:] = np.float32(-np.inf), -1
        n_read = sweep_all(
            query, used, rotated, length, fields, segments, allowed, n_indexed, n_rows, bar, slack,
            levels, planes, estimates, best_values, best_rows, seen_values, seen_rows, work[i],
        )  # fmt: skip
        bar = best_values[0] - np.float32(2.0) * slack
        n_left = 0
        for j in range(n_read):
            if seen_values[j] >= bar:
                seen_rows[n_left] = seen_rows[j]
                n_left += 1
        left = seen_rows[:n_left]
        left_scores = np.empty(n_left)
        canonical(query, norm2[0], left, segments, metric, sums, left_scores)
        order = np.argsort(left)
        order = order[np.argsort(-left_scores[order], kind="mergesort")]
        for j in range(k):
            rows[i, j] = left[order[j]] if j < n_left else -1
            scores[i, j] = left_scores[order[j]] if j < n_left else 0.0
