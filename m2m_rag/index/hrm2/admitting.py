"""Which index files are taken: those whose numbers stay within one another.

Searches and growth follow these numbers without looking, at the speed of memory. A checksum tells
damage, but not who wrote the file: what anyone may have written is checked here once, in one pass
over the rows (15 ms for a million).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from m2m_rag._types import Metric, RowArray
from m2m_rag.compute.clustered import FACT, LANES, WORD_BITS, Facts, NumberArray, block_bytes
from m2m_rag.index.hrm2.calibration import EPSILONS, Curve, Point

DTYPES = {
    "signs": "<f4", "order": "<i4", "center": "<f4", "fine": "|i1", "facts": "<f4",
    "sizes": "<i4", "coarse_of": "<i8", "limits": "<i4", "blocks": "|u1", "rows": "<i4",
}  # fmt: skip
"""The arrays of a file."""
LARGEST = 2.0**48
"""Of a key's scale: squares of keys stay float32."""
LONGEST = float(np.finfo(np.float32).max)


class Numbers(NamedTuple):
    """The numbers of a file that are no arrays; see `State`, `Clusters` and `Curve`."""

    dimension: int
    spread: float
    reach: float
    n_indexed: int
    n_built: int
    n_purged: int
    curve: Curve


def read_numbers(header: Mapping[str, Any], dimension: int, n_rows: int) -> Numbers:
    """Read the numbers of a file's header.

    Parameters
    ----------
    header
        Any JSON object.
    dimension, n_rows
        Of the collection; n_rows at most are in the index.

    Raises
    ------
    ValueError
        One of them is none, or out of its range.
    """
    n_indexed = _count(header["n_indexed"], 1, n_rows)
    n_fine, n_measured, n_seen = (_count(n, 0, 2**62) for n in header["n_measured"])
    points = [_point(point, n_fine) for point in header["points"]]
    measured = {(point.k, point.epsilon) for point in points}
    if len(measured) != len(EPSILONS) * len({point.k for point in points}):
        raise ValueError("some widths were not measured for each k")
    return Numbers(
        dimension=_count(header["dimension"], dimension, dimension),
        spread=_real(header["spread"], 0.0, 2.0),
        reach=_real(header["reach"], 0.0, LONGEST),
        n_indexed=n_indexed,
        n_built=_count(header["n_built"], 1, n_indexed),
        n_purged=_count(header["n_purged"], 0, n_rows),
        curve=Curve(n_fine, n_measured, n_seen, points),
    )


def check_arrays(arrays: Mapping[str, Any], numbers: Numbers, metric: Metric) -> None:
    """Raise `ValueError` unless whoever uses the arrays stays within them.

    Parameters
    ----------
    arrays
        Those of `DTYPES`, of these types.
    numbers
        Of the same file.
    metric
        Of the collection.
    """
    n_fine, n_blocks = len(arrays["sizes"]), len(arrays["blocks"])
    padded = -(-numbers.dimension // WORD_BITS) * WORD_BITS
    rounds = len(arrays["signs"])
    expected = {
        "signs": (rounds, padded),
        "order": (rounds, padded),
        "center": (numbers.dimension,),
        "fine": (n_fine, padded),
        "facts": (len(Facts()), n_fine),
        "sizes": (n_fine,),
        "coarse_of": (n_fine,),
        "limits": (n_fine,),
        "blocks": (n_blocks, block_bytes(padded // WORD_BITS)),
        "rows": (LANES * n_blocks,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape or 0 in shape:
            raise ValueError(f"array {name!r} has the shape {arrays[name].shape}, not {shape}")
    _check_rotation(arrays["signs"], arrays["order"])
    _check_clusters(arrays["coarse_of"], arrays["limits"])
    _check_facts(arrays["facts"], metric)
    if not np.isfinite(arrays["center"]).all():
        raise ValueError("array 'center' holds what is no number")
    _check_rows(arrays["rows"], arrays["sizes"], n_blocks, numbers.n_indexed)


def _check_rotation(signs: Any, order: NumberArray) -> None:
    if not (np.abs(signs) == 1.0).all():
        raise ValueError("array 'signs' holds other numbers than -1 and 1")
    if not (np.sort(order, axis=1) == np.arange(order.shape[1])).all():
        raise ValueError("array 'order' holds what is no permutation")


def _check_clusters(coarse_of: RowArray, limits: NumberArray) -> None:
    if coarse_of[0] < 0 or coarse_of[-1] >= len(coarse_of) or (np.diff(coarse_of) < 0).any():
        raise ValueError("array 'coarse_of' does not count the coarse clusters upwards")
    if limits.min() < 2 * LANES:
        raise ValueError("array 'limits' would split clusters that are small")


def _check_facts(facts: Any, metric: Metric) -> None:
    if not np.isfinite(facts).all():
        raise ValueError("array 'facts' holds what is no number")
    least_norm2 = 0.0 if metric == "l2" else np.finfo(np.float32).tiny
    ranges = {
        "key_scale": (FACT.key_scale, 0.0, LARGEST),
        "length": (FACT.length, 0.0, LONGEST),
        "norm2": (FACT.norm2, least_norm2, LONGEST),
        "sign_sum": (FACT.sign_sum, 0.0, LONGEST),
        "share": (FACT.share, 0.0, 1.001),
        "width": (FACT.width, 0.0, LONGEST),
    }
    for name, (row, least, most) in ranges.items():
        if facts[row].min() < least or facts[row].max() > most:
            raise ValueError(f"the facts' {name} is out of its range")


def _check_rows(rows: NumberArray, sizes: NumberArray, n_blocks: int, n_indexed: int) -> None:
    """Check that each cluster has its blocks, and that no row is in two lanes."""
    wanted = -(-sizes.astype(np.int64) // LANES)
    if sizes.min() < 0 or wanted.sum() != n_blocks:
        raise ValueError("array 'sizes' wants other blocks of codes than there are")
    block = np.arange(n_blocks) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    in_use = np.repeat(sizes, wanted) - LANES * block
    used = rows.reshape(n_blocks, LANES)[np.arange(LANES) < in_use[:, None]]
    if used.min(initial=0) < 0 or used.max(initial=0) >= n_indexed:
        raise ValueError("array 'rows' leads beyond the rows that are indexed")
    seen = np.zeros(n_indexed, dtype=np.bool_)
    seen[used] = True
    if np.count_nonzero(seen) != len(used):
        raise ValueError("array 'rows' holds a row twice")


def _count(value: object, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r:.80} is no whole number from {least} to {most}")
    return value


def _real(value: object, least: float, most: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r:.80} is no number from {least} to {most}")
    return float(value)


def _point(values: Any, n_fine: int) -> Point:
    k, epsilon, threshold, clusters, recall, cost = values
    if epsilon not in EPSILONS:
        raise ValueError(f"{epsilon!r:.80} is no width that is measured")
    return Point(
        int(_real(k, 1, 2**31)),
        epsilon,
        _real(threshold, -1e9, 1e9),
        _real(clusters, 1e-9, n_fine),
        _real(recall, 0.0, 1.0),
        _real(cost, 1e-9, 1e12),
    )
