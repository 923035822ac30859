"""The search kernels that a driver calls: many queries, one thread, no GIL."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import FINE_PLANES, PILOT_ROWS, PLANES, ROUNDING
from m2m_rag.compute.numba_backend.canonical import canonical
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.distances import squared_norms
from m2m_rag.compute.numba_backend.exhaustive import sweep_all
from m2m_rag.compute.numba_backend.intrinsics import as_float32s
from m2m_rag.compute.numba_backend.packing import COSINE, FIELD, L2
from m2m_rag.compute.numba_backend.pool import CLUSTERS, PROBED, read_rows
from m2m_rag.compute.numba_backend.probing import probe
from m2m_rag.compute.numba_backend.room import make_room
from m2m_rag.compute.numba_backend.routing import prepare, route

F32 = NDArray[np.float32]
_METRIC, _PADDED, _LENGTHS = FIELD.metric, FIELD.padded, FIELD.lengths


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
    room = make_room(fields, PLANES, 1)
    squared_norms(query.reshape(1, query.shape[0]), room.sums[8:])
    _, step = prepare(query, fields, room.sums[8], room)
    found = route(step, fields, n_candidates, room)
    for i in range(found):
        at = room.order[i]
        out[i], out_keys[i] = room.numbers[at], room.keys[at]
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
    k, padded, metric = rows.shape[1], fields[_PADDED], fields[_METRIC]
    lengths = as_float32s(np.uint64(fields[_LENGTHS]))
    n_rows = segments[segments.shape[0] - 1, 2]
    room = make_room(fields, PLANES, k)
    n_pilot_codes = int(PILOT_ROWS * k / share)
    for i in range(queries.shape[0]):
        query = queries[i]
        squared_norms(queries[i : i + 1], room.sums[8:])
        length, step = prepare(query, fields, room.sums[8], room)
        if length == 0.0 and metric != L2:
            rows[i, :] = -1
            continue
        n = route(step, fields, n_candidates, room)
        scale = length * lengths[1]
        if metric == L2:
            scale = (length + lengths[1]) ** 2
        slack, norm2 = np.float32(ROUNDING * (padded + 16) * scale), np.float32(length * length)
        probe(
            query, step, fields, segments, allowed, n_indexed, n, n_probe, np.float32(threshold),
            n_pilot_codes, np.float32(epsilon), lengths[0] * lengths[0], slack, norm2, codes_only,
            room, rows[i], work[i],
        )  # fmt: skip
        for t in range(min(work[i, CLUSTERS], work.shape[1] - PROBED)):
            work[i, PROBED + t] = room.numbers[room.order[t]]
        read_rows(
            n_indexed, n_rows, query, room.used, norm2, fields, segments, allowed, room.values,
            rows[i], work[i],
        )  # fmt: skip
        n_found = 0
        for j in range(k):
            if rows[i, j] >= 0:
                rows[i, n_found] = rows[i, j]
                room.values[n_found] = room.values[j]
                n_found += 1
        rows[i, n_found:] = -1
        if codes_only:
            for j in range(n_found):
                value = np.float64(room.values[j])
                if metric == L2:
                    value = 0.0 - np.sqrt(max(length**2 - 2.0 * value, 0.0))
                elif metric == COSINE:
                    value = np.float64(min(max(value, -1.0), 1.0))
                scores[i, j] = value
        else:
            canonical(
                query, room.sums[8], rows[i, :n_found], segments, metric, room.sums, scores[i]
            )  # fmt: skip
        order_hits(rows[i, :n_found], scores[i, :n_found])


@kernel(allocates=True)
def search_exactly(
    queries: F32, fields: Any, segments: Any, n_indexed: int, allowed: Any, n_probe: int,
    n_codes: int, rows: Any, scores: Any, work: Any,
) -> None:  # fmt: skip
    """Search for each query, provably exact; see `exhaustive`. `n_codes` codes are in the index."""
    k, padded, metric = rows.shape[1], fields[_PADDED], fields[_METRIC]
    lengths = as_float32s(np.uint64(fields[_LENGTHS]))
    n_rows = segments[segments.shape[0] - 1, 2]
    room = make_room(fields, FINE_PLANES, k)
    best_rows = np.empty(k, np.int64)
    n_seen = n_codes + n_rows - n_indexed
    seen_values, seen_rows = np.empty(n_seen, np.float32), np.empty(n_seen, np.int64)
    for i in range(queries.shape[0]):
        query = queries[i]
        squared_norms(queries[i : i + 1], room.sums[8:])
        length, step = prepare(query, fields, room.sums[8], room)
        scale = length * lengths[1]
        if metric == L2:
            scale = (length + lengths[1]) ** 2
        slack = np.float32(ROUNDING * (padded + 16) * scale + 1e-37)
        norm2 = np.float32(length * length)
        n = route(step, fields, n_probe, room)
        probe(
            query, step, fields, segments, allowed, n_indexed, n, n_probe, np.float32(-np.inf),
            PILOT_ROWS * k, np.float32(1.0), lengths[0] * lengths[0], slack, norm2, False, room,
            best_rows, work[i],
        )  # fmt: skip
        bar = room.values[0] - slack
        room.values[:], best_rows[:] = np.float32(-np.inf), -1
        n_read = sweep_all(
            query, length, fields, segments, allowed, n_indexed, n_rows, bar, slack, room,
            best_rows, seen_values, seen_rows, work[i],
        )  # fmt: skip
        bar = room.values[0] - np.float32(2.0) * slack
        n_left = 0
        for j in range(n_read):
            if seen_values[j] >= bar:
                seen_rows[n_left] = seen_rows[j]
                n_left += 1
        left = seen_rows[:n_left]
        left_scores = np.empty(n_left)
        canonical(query, room.sums[8], left, segments, metric, room.sums, left_scores)
        order = np.argsort(left)
        order = order[np.argsort(-left_scores[order], kind="mergesort")]
        for j in range(k):
            rows[i, j] = left[order[j]] if j < n_left else -1
            scores[i, j] = left_scores[order[j]] if j < n_left else 0.0
