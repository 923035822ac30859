"""Room for one search: everything that it writes to but its answer, in few allocations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import RowArray, ScoreArray, WordArray
from m2m_rag.compute.clustered import LANES, POOL_A_RESULT, QUEUE, WORD_BITS
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.packing import FIELD
from m2m_rag.compute.numba_backend.sorting import BINS

F32 = NDArray[np.float32]
_DIMENSION, _PADDED = FIELD.dimension, FIELD.padded
_N_FINE, _N_BLOCKS = FIELD.n_fine, FIELD.n_blocks


class Room(NamedTuple):
    """Room for one query at a time.

    Attributes
    ----------
    used, spare, rotated, levels, planes
        The query as the index sees it, rotated, and quantised.
    slots, outlooks
        Estimated keys, and how far they pass the threshold.
    keys, numbers, order, bases, counts
        Of each cluster of the route: key, number, place, inner product with the query, and blocks.
    first, bins
        For sorting.
    lanes
        The estimates of a block.
    values
        The heap's k values.
    estimates, most, rows, places
        The pool: estimate, estimate plus bound, and row of each row that may be read, and its place
        in the order of reading.
    pilot
        The k rows that the pilot reads.
    queue
        Rows whose vectors are on their way.
    sums
        Eight float64 sums, and the query's squared norm.
    """

    used: F32
    spare: F32
    rotated: F32
    levels: NDArray[np.uint8]
    planes: WordArray
    slots: F32
    outlooks: F32
    keys: F32
    numbers: RowArray
    order: RowArray
    bases: F32
    counts: RowArray
    first: RowArray
    bins: RowArray
    lanes: F32
    values: F32
    estimates: F32
    most: F32
    rows: RowArray
    places: RowArray
    pilot: RowArray
    queue: RowArray
    sums: ScoreArray


@kernel(allocates=True)
def make_room(fields: Any, n_planes: int, k: int) -> Room:
    """Return room for searches for the best k of an index."""
    d, padded, n_fine = fields[_DIMENSION], fields[_PADDED], fields[_N_FINE]
    n_slots, n_pool = LANES * fields[_N_BLOCKS], POOL_A_RESULT * k
    floats = np.empty(3 * padded + 2 * n_slots + 2 * n_fine + LANES + k + 2 * n_pool, np.float32)
    used, spare, rotated = floats[:d], floats[padded : 2 * padded], floats[2 * padded : 3 * padded]
    at = 3 * padded
    slots, outlooks = floats[at : at + n_slots], floats[at + n_slots : at + 2 * n_slots]
    at += 2 * n_slots
    keys, bases = floats[at : at + n_fine], floats[at + n_fine : at + 2 * n_fine]
    at += 2 * n_fine
    lanes, values = floats[at : at + LANES], floats[at + LANES : at + LANES + k]
    at += LANES + k
    estimates, most = floats[at : at + n_pool], floats[at + n_pool : at + 2 * n_pool]
    n_first = max(n_fine, n_pool)
    whole = np.empty(3 * n_fine + n_first + BINS + 2 * n_pool + k + QUEUE, np.int64)
    numbers, order = whole[:n_fine], whole[n_fine : 2 * n_fine]
    counts, first = whole[2 * n_fine : 3 * n_fine], whole[3 * n_fine : 3 * n_fine + n_first]
    at = 3 * n_fine + n_first
    bins = whole[at : at + BINS]
    at += BINS
    rows, places = whole[at : at + n_pool], whole[at + n_pool : at + 2 * n_pool]
    at += 2 * n_pool
    pilot, queue = whole[at : at + k], whole[at + k : at + k + QUEUE]
    return Room(
        used, spare, rotated, np.empty(padded, np.uint8),
        np.empty(n_planes * (padded // WORD_BITS), np.uint64), slots, outlooks, keys, numbers,
        order, bases, counts, first, bins, lanes, values, estimates, most, rows, places, pilot,
        queue, np.empty(9),
    )  # fmt: skip
