"""The Numba backend's driver: scale, scan in float32, keep candidates, score them canonically.

The error bounds are the standard ones for a float32 inner product in any order of summation
(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1): at most
gamma(d) * norm(q) * norm(x) with gamma(d) = d u / (1 - d u) and u = 2**-24. `_slack` adds 16 to d
for the roundings of scaling and comparing, and doubles the whole; on 100,000 text embeddings
(d = 384) this leaves about 10 candidates at k = 10, so a tighter bound would save nothing.

Batches of at least `GEMM_QUERIES` queries take the inner products from one BLAS product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray
from m2m_rag.compute.numba_backend import clusters, distances, topk
from m2m_rag.compute.numba_backend.clustered import ClusteredSearch

GEMM_QUERIES = 4
"""From this many queries on, one matrix product beats as many scans."""
BATCH_VALUES = 1 << 24
"""Scores that a batch keeps at a time (64 MiB of float32)."""
ASSIGN_VALUES = 1 << 20
"""Products that an assignment keeps at a time (4 MiB of float32, about a core's cache)."""
TINY_NORM = 2.0**-60
"""Non-zero norms below this one are scored canonically: their float32 products underflow."""

_NO_MASK = np.zeros(0, dtype=np.bool_)


class NumbaBackend(ClusteredSearch):
    """Exact search at float32 speed; one thread per call, without holding the GIL in kernels."""

    name = "numba"

    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """See `ComputeBackend.squared_norms`."""
        out = np.empty(len(vectors))
        distances.squared_norms(vectors, out)
        return out

    def scores(
        self, query: FloatArray, vectors: FloatArray, norms2: ScoreArray, metric: Metric
    ) -> ScoreArray:
        """See `ComputeBackend.scores`."""
        return self._canonical(query, vectors, norms2, metric, np.arange(len(vectors)))

    def top_k(
        self,
        queries: FloatArray,
        vectors: FloatArray,
        norms2: ScoreArray,
        k: int,
        metric: Metric,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray]:
        """See `ComputeBackend.top_k`."""
        k = min(k, len(vectors) if allowed is None else int(np.count_nonzero(allowed)))
        all_rows, all_scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
        if k == 0:
            return all_rows, all_scores
        scan = _Scan(vectors, norms2, metric, allowed)
        step = max(1, BATCH_VALUES // len(vectors))
        for start in range(0, len(queries), step):
            batch = queries[start : start + step]
            query_norms2 = self.squared_norms(batch)
            for i, (query, values, errors) in enumerate(scan.run(batch, query_norms2), start):
                rows = scan.candidates(values, errors, k)
                scores = self._canonical(query, vectors, norms2, metric, rows)
                best = np.lexsort((rows, -scores))[:k]
                all_rows[i], all_scores[i] = rows[best], scores[best]
        return all_rows, all_scores

    def assign(self, vectors: FloatArray, centroids: FloatArray) -> RowArray:
        """See `ComputeBackend.assign`."""
        labels = np.empty(len(vectors), dtype=np.int64)
        half_norms2 = (self.squared_norms(centroids) / 2.0).astype(np.float32)
        reach = np.sqrt(2.0 * float(half_norms2.max(initial=0.0)))
        slack = np.float32(_slack(vectors.shape[1]))
        step = max(1, ASSIGN_VALUES // len(centroids))
        for start in range(0, len(vectors), step):
            part = vectors[start : start + step]
            products = part @ centroids.T
            clusters.nearest(
                products,
                part,
                centroids,
                half_norms2,
                np.float32(reach),
                slack,
                labels[start : start + step],
            )
        return labels

    def squared_distances(
        self, vectors: FloatArray, centroids: FloatArray, labels: RowArray
    ) -> ScoreArray:
        """See `ComputeBackend.squared_distances`."""
        out = np.empty(len(vectors))
        clusters.squared_distances(vectors, centroids, labels, out)
        return out

    def cluster_sums(
        self, vectors: FloatArray, labels: RowArray, n_clusters: int
    ) -> tuple[ScoreArray, RowArray]:
        """See `ComputeBackend.cluster_sums`."""
        sums = np.zeros((n_clusters, vectors.shape[1]))
        sizes = np.zeros(n_clusters, dtype=np.int64)
        clusters.sums(vectors, labels, sums, sizes)
        return sums, sizes

    def _canonical(
        self,
        query: FloatArray,
        vectors: FloatArray,
        norms2: ScoreArray,
        metric: Metric,
        rows: RowArray,
    ) -> ScoreArray:
        out = np.empty(len(rows))
        if metric == "l2":
            distances.canonical_squared_l2(query, vectors, rows, out)
            return 0.0 - np.sqrt(out)  # so that an exact match scores 0.0, not -0.0
        distances.canonical_dot(query, vectors, rows, out)
        if metric == "cosine":
            scale = np.sqrt(self.squared_norms(query[None])[0] * norms2[rows])
            out[scale == 0.0] = 0.0
            np.divide(out, scale, out=out, where=scale != 0.0)
            np.clip(out, -1.0, 1.0, out=out)
        return out


class _Scan:
    """The float32 pass over one set of vectors: values that order like the score, and errors."""

    def __init__(
        self, vectors: FloatArray, norms2: ScoreArray, metric: Metric, allowed: MaskArray | None
    ) -> None:
        self.vectors = vectors
        self.metric = metric
        self.allowed = _NO_MASK if allowed is None else allowed
        self.masked = allowed is not None
        norms = np.sqrt(norms2)
        self.norms = norms.astype(np.float32)
        if metric == "cosine":
            scale = np.zeros(len(norms), dtype=np.float32)
            np.divide(1.0, norms, out=scale, where=norms >= TINY_NORM, casting="same_kind")
            scale[(norms > 0.0) & (norms < TINY_NORM)] = np.nan
            self.scale = scale

    def run(
        self, queries: FloatArray, query_norms2: ScoreArray
    ) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
        """Return (query, values, errors) for each query; values order like the score."""
        slack = _slack(queries.shape[1])
        norms = np.sqrt(query_norms2)
        if self.metric == "cosine":
            unit = np.zeros_like(queries, dtype=np.float64)
            np.divide(queries, norms[:, None], out=unit, where=norms[:, None] > 0.0)
            used = unit.astype(np.float32)
        else:
            used = queries
        products = self._products(used)
        results = []
        for query, norm, values in zip(queries, norms, products, strict=True):
            if self.metric == "cosine":
                values *= self.scale
                errors = np.array([slack], dtype=np.float32)
            elif self.metric == "dot":
                errors = self.norms * np.float32(slack * norm) + np.float32(1e-37)
            elif len(queries) >= GEMM_QUERIES:
                reach = (self.norms + np.float32(norm)) ** 2
                values *= np.float32(2.0)
                values -= self.norms * self.norms + np.float32(norm * norm)
                errors = reach * np.float32(slack) + np.float32(1e-37)
            else:
                np.negative(values, out=values)
                errors = -values * np.float32(slack) + np.float32(1e-37)
            results.append((query, values, errors))
        return results

    def candidates(self, values: FloatArray, errors: FloatArray, k: int) -> RowArray:
        heap = np.empty(k, dtype=np.float32)
        out = np.empty(len(values), dtype=np.int64)
        found = topk.candidates(values, errors, k, self.allowed, self.masked, heap, out)
        return out[:found]

    def _products(self, queries: FloatArray) -> NDArray[np.float32]:
        if len(queries) >= GEMM_QUERIES:
            return np.ascontiguousarray(queries @ self.vectors.T)
        out = np.zeros((len(queries), len(self.vectors)), dtype=np.float32)
        kernel = distances.scan_squared_l2 if self.metric == "l2" else distances.scan_dot
        for query, row in zip(queries, out, strict=True):
            kernel(query, self.vectors, self.allowed, self.masked, row)
        return out


def _slack(dimension: int) -> float:
    return 2.0 * (dimension + 16) * 2.0**-24
