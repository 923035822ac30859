"""Reading rows: the vectors that a search reads, in what order, and the best of them.

A vector read from memory (1.5 KB) costs 0.3 µs, so what decides is how few are read. In the order
of the clusters, 42 vectors a query were read at recall@10 of 0.95 (100,000 texts) and 60 at 0.99;
pooled and read best estimate first, 27 and 41.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import QUEUE
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.packing import FIELD
from m2m_rag.compute.numba_backend.sorting import sort_by_key
from m2m_rag.compute.numba_backend.vectors import address_of, ask, value_of

F32 = NDArray[np.float32]
_METRIC, _DIMENSION = FIELD.metric, FIELD.dimension
CLUSTERS, CODES, VECTORS, PROBED = range(4)
"""Positions in `work`: what a query cost, and from where on the numbers of the clusters probed are
wanted, if there is room for them."""


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
def read(
    row: Any, query: F32, used: F32, norm2: Any, fields: Any, segments: Any, values: F32,
    rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read a row's vector and keep it when it is among the best."""
    address = address_of(row, segments, 4 * fields[_DIMENSION])
    value = value_of(query, used, norm2, address, fields[_METRIC])
    work[VECTORS] += 1
    if value > values[0]:
        push(values, rows, value, row)


@kernel()
def read_rows(
    first: int, stop: int, query: F32, used: F32, norm2: Any, fields: Any, segments: Any,
    allowed: Any, values: F32, rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read rows `first` to `stop` - 1, those that the index does not hold yet."""
    for row in range(first, stop):
        if allowed.shape[0] == 0 or allowed[row]:
            read(row, query, used, norm2, fields, segments, values, rows, work)


@kernel()
def read_pool(
    n: int, least: Any, slack: Any, query: F32, norm2: Any, fields: Any, segments: Any, room: Any,
    rows: Any, work: Any,
) -> None:  # fmt: skip
    """Read the first n rows of the pool, best estimate first, while they may pass the bar.

    The pilot's rows, whose estimates are at least `least`, have been read.
    """
    if n == 0:
        return
    row_bytes, asked, done = 4 * fields[_DIMENSION], 0, 0
    used, values, queue = room.used, room.values, room.queue
    sort_by_key(room.estimates[:n], room.rows[:n], room.bins, room.first[:n], room.places[:n])
    for i in range(n):
        at = room.places[i]
        row = room.rows[at]
        if not room.most[at] > values[0] - slack:
            continue
        if room.estimates[at] >= least and _is_among(row, room.pilot):
            continue
        ask(row, segments, row_bytes)
        if asked >= QUEUE:
            oldest = queue[asked % QUEUE]
            read(oldest, query, used, norm2, fields, segments, values, rows, work)
            done += 1
        queue[asked % QUEUE] = row
        asked += 1
    for i in range(done, asked):
        read(queue[i % QUEUE], query, used, norm2, fields, segments, values, rows, work)


@kernel(inlined=True)
def _is_among(row: Any, rows: Any) -> Any:
    found = False
    for i in range(rows.shape[0]):
        found = found or rows[i] == row
    return found
