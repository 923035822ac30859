"""K-means: Lloyd's algorithm on a sample first, then on everything.

Most of the way is gone on a sample of `SAMPLE_PER_CLUSTER` rows a cluster; a few passes over all
rows then settle the centroids. Assignment is a matrix product, and everything else is canonical
(see `m2m_rag.compute.base`), so one seed gives one clustering on every backend.

Against scikit-learn 1.9 (n_init=1, its own tolerance), one thread, CPU time, six runs on 100,000 ×
384 with 64 clusters, 50,000 × 384 with 256 and 10,000 × 128 with 100: inertia 0.9995 to 1.0042 of
scikit-learn's, 2.0 to 5.7 times as fast (7 to 18 full passes against 38 to 100).
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from m2m_rag._types import ClusterBackend, FloatArray, RowArray
from m2m_rag.clustering.seeding import kmeans_plusplus
from m2m_rag.errors import InvalidInputError

SAMPLE_PER_CLUSTER = 256
SEEDS_PER_CLUSTER, SEEDS_LEAST = 64, 4096
"""Rows among which the first centroids are chosen, as the choice costs rows × clusters. Fewer than
some thousand made the inertia of 12 to 20 clusters 0.6 % worse on average."""


class KMeans:
    """K-means clustering.

    Parameters
    ----------
    n_clusters
        How many clusters; at most the number of rows.
    backend
        Computes assignments and sums.
    max_iter
        Most passes of Lloyd's algorithm, on the sample and on everything alike.
    tol
        A pass is the last when the centroids' mean squared movement is at most this share of the
        rows' mean squared distance to their mean: 1e-4 is 1 % of the data's radius.
    random_state
        Seed of the choice of sample and first centroids.
    sample_only
        Leave out the passes over all rows: the centroids are those of the sample, and the rows
        are assigned once.
    spherical
        Scale centroids to unit length: for unit vectors, clusters by cosine (Dhillon & Modha,
        "Concept Decompositions for Large Sparse Text Data", 2001, section 3).

    Attributes
    ----------
    centroids_
        ``(n_clusters, d)`` float32.
    labels_
        ``(n,)`` int64: each row's cluster.
    inertia_
        Sum of squared distances of the rows to their centroids.
    n_iter_
        Passes of Lloyd's algorithm over all rows.
    """

    centroids_: FloatArray
    labels_: RowArray
    inertia_: float
    n_iter_: int

    def __init__(
        self,
        n_clusters: int,
        backend: ClusterBackend,
        *,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: int = 42,
        sample_only: bool = False,
        spherical: bool = False,
    ) -> None:
        if n_clusters < 1:
            raise InvalidInputError(f"n_clusters: expected at least 1, got {n_clusters}.")
        if max_iter < 1:
            raise InvalidInputError(f"max_iter: expected at least 1, got {max_iter}.")
        self.n_clusters = n_clusters
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.sample_only = sample_only
        self.spherical = spherical
        self._backend = backend

    def fit(self, vectors: Any) -> Self:
        """Cluster ``(n, d)`` float32 vectors.

        Raises
        ------
        InvalidInputError
            There are fewer rows than clusters.
        """
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        if rows.ndim != 2 or len(rows) < self.n_clusters:
            raise InvalidInputError(
                f"vectors: expected at least {self.n_clusters} rows (n_clusters), "
                f"got shape {rows.shape}."
            )
        generator = np.random.default_rng(self.random_state)
        n_seeds = max(SEEDS_LEAST, SEEDS_PER_CLUSTER * self.n_clusters)
        seeds = _sample(rows, n_seeds, generator)
        centroids = self._scaled(kmeans_plusplus(seeds, self.n_clusters, generator))
        sample = _sample(rows, SAMPLE_PER_CLUSTER * self.n_clusters, generator)
        n_iter = 0
        if len(sample) < len(rows) or self.sample_only:
            centroids, _ = self._lloyd(sample, centroids)
        if not self.sample_only:
            centroids, n_iter = self._lloyd(rows, centroids)
        self.centroids_, self.n_iter_ = centroids, n_iter
        self.labels_ = self._backend.assign(rows, self.centroids_)
        distances = self._backend.squared_distances(rows, self.centroids_, self.labels_)
        self.inertia_ = float(distances.sum())
        return self

    def predict(self, vectors: Any) -> RowArray:
        """Return the nearest centroid of each of ``(n, d)`` vectors."""
        return self._backend.assign(
            np.ascontiguousarray(vectors, dtype=np.float32), self.centroids_
        )

    def fit_predict(self, vectors: Any) -> RowArray:
        """Cluster, and return each row's cluster."""
        return self.fit(vectors).labels_

    def _lloyd(self, rows: FloatArray, centroids: FloatArray) -> tuple[FloatArray, int]:
        bound = self.tol * float(rows.var(axis=0, dtype=np.float64).sum()) * self.n_clusters
        n_iter, shift = 0, np.inf
        while n_iter < self.max_iter and shift > bound:
            n_iter += 1
            labels = self._backend.assign(rows, centroids)
            moved = self._update(rows, centroids, labels)
            shift = float(((moved - centroids).astype(np.float64) ** 2).sum())
            centroids = moved
        return centroids, n_iter

    def _update(self, rows: FloatArray, centroids: FloatArray, labels: RowArray) -> FloatArray:
        """Return the clusters' means; an empty cluster gets one of the rows that fit worst."""
        sums, sizes = self._backend.cluster_sums(rows, labels, self.n_clusters)
        empty = np.flatnonzero(sizes == 0)
        if len(empty):
            distances = self._backend.squared_distances(rows, centroids, labels)
            worst = np.lexsort((np.arange(len(rows)), -distances))[: len(empty)]
            sums[empty] = rows[worst]
            sizes[empty] = 1
        return self._scaled((sums / sizes[:, None]).astype(np.float32))

    def _scaled(self, centroids: FloatArray) -> FloatArray:
        if not self.spherical:
            return centroids
        norms = np.linalg.norm(centroids.astype(np.float64), axis=1, keepdims=True)
        scaled: FloatArray = np.divide(centroids, np.where(norms > 0.0, norms, 1.0)).astype(
            np.float32
        )
        return scaled


def _sample(rows: FloatArray, size: int, generator: np.random.Generator) -> FloatArray:
    if size >= len(rows):
        return rows
    return rows[np.sort(generator.choice(len(rows), size, replace=False))]
