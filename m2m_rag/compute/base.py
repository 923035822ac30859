"""The contract of a compute backend: arrays in, arrays out, and ids that agree exactly.

The *canonical score* of a query q and a vector x, both float32, is computed in float64 with sums
taken in the order of the dimensions, one term after the other::

    dot(q, x)    = (((q0 x0) + q1 x1) + q2 x2) + ...
    cosine(q, x) = dot(q, x) / sqrt(dot(q, q) dot(x, x)), clipped to [-1, 1]; 0 if either is zero
    l2(q, x)     = -sqrt((((q0 - x0)**2) + (q1 - x1)**2) + ...)

A product of two float32 is exact in float64, so a plain Python loop, numpy and compiled code give
the same bits: the tests compare with ``==``. Results are ordered by score, highest first, and ties
by row, lowest first. How a backend finds them is its own affair (the Numba backend scans in
float32 with an error bound and scores canonically only what the bound cannot exclude); what it
returns is not.

Clustering is canonical too: a row belongs to the centroid with the least canonical squared distance
``((((x0 - c0)**2) + (x1 - c1)**2) + ...)``, ties to the lower number, and a cluster's sum adds its
rows in ascending order in float64. So one seed gives one clustering on every backend.
"""

from __future__ import annotations

from abc import abstractmethod

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray
from m2m_rag.compute.clustered_base import ClusteredBackend


class ComputeBackend(ClusteredBackend):
    """Operations that every backend offers; `tests/support/backend_contract.py` tests all."""

    name: str

    @abstractmethod
    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """Return the squared Euclidean norms of the rows.

        Parameters
        ----------
        vectors
            ``(n, d)`` float32, C-contiguous, finite.

        Returns
        -------
        ScoreArray
            ``(n,)`` float64, canonical (``dot(x, x)``).
        """

    @abstractmethod
    def scores(
        self, query: FloatArray, vectors: FloatArray, norms2: ScoreArray, metric: Metric
    ) -> ScoreArray:
        """Return the ``(n,)`` canonical scores of one ``(d,)`` query."""

    @abstractmethod
    def top_k(
        self,
        queries: FloatArray,
        vectors: FloatArray,
        norms2: ScoreArray,
        k: int,
        metric: Metric,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray]:
        """Return the exact top k of each query.

        Parameters
        ----------
        queries
            ``(m, d)`` float32, C-contiguous, finite.
        vectors
            ``(n, d)`` float32, C-contiguous, finite; norms at most 2**60.
        norms2
            ``(n,)`` float64, what `squared_norms` returned for `vectors`.
        k
            At least 1; more than there are allowed rows returns all of these.
        metric
            Which score.
        allowed
            ``(n,)`` bool, or None for all rows.

        Returns
        -------
        rows, scores
            ``(m, min(k, allowed rows))`` int64 and float64.
        """

    @abstractmethod
    def assign(self, vectors: FloatArray, centroids: FloatArray) -> RowArray:
        """Return the number of each row's nearest centroid, ``(n,)`` int64.

        Parameters
        ----------
        vectors
            ``(n, d)`` float32, C-contiguous, finite; norms at most 2**60.
        centroids
            ``(c, d)`` float32 likewise, c at least 1.
        """

    @abstractmethod
    def squared_distances(
        self, vectors: FloatArray, centroids: FloatArray, labels: RowArray
    ) -> ScoreArray:
        """Return the ``(n,)`` canonical squared distance of each row to centroid `labels[row]`."""

    @abstractmethod
    def cluster_sums(
        self, vectors: FloatArray, labels: RowArray, n_clusters: int
    ) -> tuple[ScoreArray, RowArray]:
        """Return the ``(n_clusters, d)`` float64 sums and ``(n_clusters,)`` sizes of clusters."""
