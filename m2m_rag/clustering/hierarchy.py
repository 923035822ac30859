"""Two levels of clusters: coarse ones, and fine ones inside each.

The number of fine clusters inside a coarse one follows its size and is at most a fifth of it
(`fine_counts`, a pure plan), so that small clusters are not cut into single rows. Centroids are
trained on samples and every row is assigned once to a coarse and once to a fine cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from m2m_rag._types import ClusterBackend, FloatArray, RowArray
from m2m_rag.clustering.kmeans import KMeans

LEAST_ROWS = 5
"""Rows that a fine cluster holds at least on average."""
FINE_PER_ROOT = 4.0
"""Fine clusters altogether by default: 4 sqrt(n)."""


class Hierarchy(NamedTuple):
    """Coarse and fine clusters of n rows.

    Attributes
    ----------
    coarse
        ``(n_coarse, d)`` float32 centroids.
    fine
        ``(n_fine, d)`` float32 centroids; those of one coarse cluster lie together.
    first_fine
        ``(n_coarse + 1,)`` int64: the fine clusters of coarse cluster c are `first_fine[c]` to
        `first_fine[c + 1] - 1`.
    labels
        ``(n,)`` int64: each row's fine cluster.
    """

    coarse: FloatArray
    fine: FloatArray
    first_fine: RowArray
    labels: RowArray


def fine_counts(sizes: Sequence[int], n_fine: int) -> list[int]:
    """Decide how many fine clusters each coarse cluster gets.

    Parameters
    ----------
    sizes
        Rows of the coarse clusters.
    n_fine
        Fine clusters altogether, about: a coarse cluster's share is that of its rows, at least 1
        and at most a fifth of its rows. An empty cluster gets none.

    Examples
    --------
    >>> fine_counts([100, 300, 4, 0], 40)
    [10, 30, 1, 0]
    """
    total = sum(sizes)
    counts = []
    for size in sizes:
        share = round(n_fine * size / total) if total else 0
        counts.append(min(size, max(1, min(share, size // LEAST_ROWS))))
    return counts


def build_hierarchy(
    vectors: FloatArray,
    backend: ClusterBackend,
    *,
    n_coarse: int,
    n_fine: int | None = None,
    random_state: int = 42,
    spherical: bool = False,
    max_iter: int = 100,
    check: Callable[[], None] = lambda: None,
) -> Hierarchy:
    """Cluster ``(n, d)`` vectors on two levels.

    Parameters
    ----------
    vectors
        ``(n, d)`` float32, n at least `n_coarse`.
    backend
        Computes assignments and sums.
    n_coarse
        Coarse clusters.
    n_fine
        Fine clusters altogether, about; 4 sqrt(n) when None.
    check
        Called before each K-means; what it raises ends the work.
    random_state, spherical, max_iter
        As for `KMeans`; coarse cluster c uses the seed `random_state` + 1 + c.
    """
    wanted = round(FINE_PER_ROOT * np.sqrt(len(vectors))) if n_fine is None else n_fine
    top = KMeans(
        n_coarse,
        backend,
        max_iter=max_iter,
        random_state=random_state,
        sample_only=True,
        spherical=spherical,
    ).fit(vectors)
    members = [np.flatnonzero(top.labels_ == number) for number in range(n_coarse)]
    counts = fine_counts([len(rows) for rows in members], wanted)
    labels = np.empty(len(vectors), dtype=np.int64)
    first_fine = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    fine = np.empty((first_fine[-1], vectors.shape[1]), dtype=np.float32)
    for number, (rows, count) in enumerate(zip(members, counts, strict=True)):
        check()
        if not count:
            continue
        inside = KMeans(
            count,
            backend,
            max_iter=max_iter,
            random_state=random_state + 1 + number,
            sample_only=True,
            spherical=spherical,
        ).fit(vectors[rows])
        start = first_fine[number]
        fine[start : start + count] = inside.centroids_
        labels[rows] = start + inside.labels_
    return Hierarchy(top.centroids_, fine, first_fine, labels)
