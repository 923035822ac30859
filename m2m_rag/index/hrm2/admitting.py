"""Which arrays are taken from a file: those whose numbers stay within one another.

Searches follow these numbers without looking, at the speed of memory (a row's number is the
exception, it is compared to what there is). A checksum tells damage, but not who wrote the file:
what anyone may have written is checked here once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from m2m_rag._types import RowArray
from m2m_rag.compute.clustered import LANES, WORD_BITS, Clusters, NumberArray, block_bytes


def check_clusters(
    clusters: Clusters, coarse_of: RowArray, limits: NumberArray, dimension: object
) -> None:
    """Raise `ValueError` unless a search stays within the arrays.

    Parameters
    ----------
    clusters
        Their cells lie in one arena, as a file brings them.
    coarse_of, limits
        Of the same state.
    dimension
        Of the collection.
    """
    if type(dimension) is not int or clusters.dimension != dimension:
        raise ValueError(f"it is of dimension {clusters.dimension}, not {dimension}")
    padded = -(-dimension // WORD_BITS) * WORD_BITS
    size = block_bytes(padded // WORD_BITS)
    n_coarse, n_fine, rounds = len(clusters.coarse), len(clusters.fine), len(clusters.signs)
    n_blocks, n_centroid_blocks = int(clusters.cells.capacity.sum()), len(clusters.centroid_blocks)
    blocks, rows = clusters.cells.arenas[0]
    expected: dict[str, tuple[Any, str, tuple[int, ...]]] = {
        "signs": (clusters.signs, "f4", (rounds, padded)),
        "order": (clusters.order, "i4", (rounds, padded)),
        "center": (clusters.center, "f4", (dimension,)),
        "coarse": (clusters.coarse, "f4", (n_coarse, padded)),
        "coarse_first": (clusters.coarse_first, "i4", (n_coarse + 1,)),
        "centroid_blocks": (clusters.centroid_blocks, "u1", (n_centroid_blocks, size)),
        "centroid_slots": (clusters.centroid_slots, "i4", (LANES * n_centroid_blocks,)),
        "fine": (clusters.fine, "i1", (n_fine, padded)),
        "facts": (clusters.facts, "f4", (8, n_fine)),
        "sizes": (clusters.sizes, "i4", (n_fine,)),
        "blocks": (blocks, "u1", (n_blocks, size)),
        "rows": (rows, "i4", (LANES * n_blocks,)),
        "coarse_of": (coarse_of, "i8", (n_fine,)),
        "limits": (limits, "i4", (n_fine,)),
    }
    for name, (array, kind, shape) in expected.items():
        if array.dtype != kind or array.shape != shape or 0 in shape:
            raise ValueError(f"array {name!r} is {array.dtype} {array.shape}, not {kind} {shape}")
    _check_numbers(clusters, coarse_of)


def _check_numbers(clusters: Clusters, coarse_of: RowArray) -> None:
    first, slots = clusters.coarse_first, clusters.centroid_slots
    n_blocks = len(clusters.centroid_blocks)
    bounds: dict[str, tuple[Any, int, int]] = {
        "sizes": (clusters.sizes, 0, 2**31),
        "centroid_slots": (slots, -1, len(clusters.fine)),
        "order": (clusters.order, 0, clusters.order.shape[1]),
        "coarse_of": (coarse_of, 0, len(clusters.coarse)),
    }
    for name, (array, least, stop) in bounds.items():
        if array.min() < least or array.max() >= stop:
            raise ValueError(f"array {name!r} leads beyond what there is")
    if first[0] != 0 or first[-1] != n_blocks or (np.diff(first) < 0).any():
        raise ValueError("array 'coarse_first' does not divide the centroids' blocks")
    keys = np.ascontiguousarray(clusters.centroid_blocks).view(np.float32)[:, -LANES:].reshape(-1)
    if not np.isneginf(keys[slots < 0]).all():
        raise ValueError("a centroid that is none could be found")
