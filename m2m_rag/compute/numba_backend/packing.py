"""A state of the index as one array of numbers and addresses, which a kernel takes as one argument.

Each array argument costs a call from Python about 0.15 µs; a search reads some twenty. The `Packed`
object keeps what the addresses point to alive.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import METRICS, FloatArray, Segment
from m2m_rag.compute.clustered import FACT, LANES, WORD_BITS, Clusters, block_bytes
from m2m_rag.compute.clustered_base import mix_window


class Fields(NamedTuple):
    """Positions in `Packed.numbers`; the first group are numbers, the second addresses."""

    metric: int = 0
    dimension: int = 1
    padded: int = 2
    rounds: int = 3
    window: int = 4
    n_coarse: int = 5
    n_fine: int = 6
    n_blocks: int = 7
    block_bytes: int = 8
    most_rows: int = 9
    signs: int = 10
    order: int = 11
    center: int = 12
    coarse: int = 13
    coarse_first: int = 14
    centroid_blocks: int = 15
    centroid_slots: int = 16
    fine: int = 17
    table: int = 18
    lengths: int = 19
    outlooks: int = 20


FIELD = Fields()
RECORD = np.dtype(
    [("facts", np.float32, len(FACT)), ("blocks", np.uint64), ("rows", np.uint64),
     ("n_blocks", np.int32), ("unused", np.uint8, 12)]
)  # fmt: skip
"""What a search needs of a fine cluster, in one cache line: its facts, where its blocks and rows
begin, and how many blocks are in use. Read from six arrays, that took 50 ns longer a cluster."""
RECORD_BYTES, RECORD_BLOCKS, RECORD_ROWS, RECORD_COUNT = 64, 4, 5, 12
"""Size of a record, and the places of its fields counted in units of their own size."""
COSINE, DOT, L2 = (METRICS.index(name) for name in ("cosine", "dot", "l2"))


class Packed(NamedTuple):
    """A state, packed. `numbers` ``(n_fields,)`` int64; `keep` holds the arrays."""

    clusters: Clusters
    numbers: NDArray[np.int64]
    keep: tuple[Any, ...]


def pack(clusters: Clusters) -> Packed:
    """Pack a state."""
    records = np.zeros(len(clusters.fine) + 1, dtype=RECORD)
    shift = (-records.ctypes.data % RECORD_BYTES) // 4
    table = records.view(np.float32)[shift : shift + 16 * len(clusters.fine)].view(RECORD)
    table["facts"] = clusters.facts.T
    table["blocks"], table["rows"] = clusters.cells.addresses()
    table["n_blocks"] = -(-clusters.sizes // LANES)
    lengths = np.array([clusters.spread, clusters.reach], dtype=np.float32)
    n_words = clusters.signs.shape[1] // WORD_BITS
    values = {
        "metric": METRICS.index(clusters.metric),
        "dimension": clusters.dimension,
        "padded": clusters.signs.shape[1],
        "rounds": len(clusters.signs),
        "window": mix_window(clusters.signs.shape[1]),
        "n_coarse": len(clusters.coarse),
        "n_fine": len(clusters.fine),
        "n_blocks": len(clusters.centroid_blocks),
        "block_bytes": block_bytes(n_words),
        "most_rows": LANES * int(clusters.cells.capacity.max()),
    }
    arrays: dict[str, NDArray[Any]] = {
        "signs": clusters.signs,
        "order": clusters.order,
        "center": clusters.center,
        "coarse": clusters.coarse,
        "coarse_first": clusters.coarse_first,
        "centroid_blocks": clusters.centroid_blocks,
        "centroid_slots": clusters.centroid_slots,
        "fine": clusters.fine,
        "table": table,
        "lengths": lengths,
        "outlooks": outlooks_of(clusters),
    }
    numbers = np.zeros(len(FIELD), dtype=np.int64)
    for name, value in values.items():
        numbers[getattr(FIELD, name)] = value
    for name, array in arrays.items():
        if not array.flags.c_contiguous:
            raise ValueError(f"{name} must be C-contiguous, for kernels read it by its address")
        numbers[getattr(FIELD, name)] = array.ctypes.data
    return Packed(clusters, numbers, (clusters, records, *arrays.values()))


def outlooks_of(clusters: Clusters) -> FloatArray:
    """Return what takes estimated keys to promises, ``(4, n_slots)`` float32: a, b, c and width.

    With the key v, the mean value of a cluster's rows is ``a v + b``; the squared |q' - c| is
    |q'|² - c v² under cosine and dot, and |q'|² - 2 v under l2.
    """
    used = clusters.centroid_slots >= 0
    facts = clusters.facts[:, np.where(used, clusters.centroid_slots, 0)]
    outlooks = np.zeros((4, len(used)), dtype=np.float32)
    length, norm2, middle = facts[FACT.length], facts[FACT.norm2], facts[FACT.middle]
    if clusters.metric == "l2":
        outlooks[0] = 1.0
        outlooks[1] = norm2 / 2.0 + middle
    else:
        outlooks[0] = middle * length
        outlooks[2] = length * length / norm2
    outlooks[3] = facts[FACT.width]
    return outlooks


class SegmentTables:
    """Where rows lie, as kernels take it: ``(n, 3)`` int64 first row, address, end row.

    The last table made for a single segment is kept: making one costs 2 µs, a twentieth of a
    search.
    """

    def __init__(self) -> None:
        self._last: tuple[Callable[[], Any], int, NDArray[np.int64]] = (
            lambda: None,
            0,
            np.empty((1, 3), np.int64),
        )

    def of(self, segments: Sequence[Segment]) -> NDArray[np.int64]:
        """Return the table of some segments; it does not keep their vectors alive."""
        if len(segments) == 1:
            first_row, vectors = segments[0]
            seen, seen_first, table = self._last
            if seen() is vectors and seen_first == first_row:
                return table
        table = np.array(
            [
                (first, part.__array_interface__["data"][0], first + len(part))
                for first, part in segments
            ],
            dtype=np.int64,
        )
        if len(segments) == 1:
            first_row, vectors = segments[0]
            self._last = weakref.ref(vectors), first_row, table
        return table
