"""K-means++ seeding: centroids that are likely to be far from each other.

Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007, section 2.2, with
several candidates a step of which the best is kept (section 7 of the technical report).
"""

from __future__ import annotations

import numpy as np

from m2m_rag._types import FloatArray, RowArray


def kmeans_plusplus(
    vectors: FloatArray, n_clusters: int, generator: np.random.Generator
) -> FloatArray:
    """Choose `n_clusters` of the vectors, each with probability ∝ its squared distance so far.

    Parameters
    ----------
    vectors
        ``(n, d)`` float32, n at least `n_clusters`.
    n_clusters
        How many to choose.
    generator
        Draws the candidates.

    Returns
    -------
    FloatArray
        ``(n_clusters, d)`` copies of the chosen vectors.
    """
    n = len(vectors)
    n_trials = 2 + int(np.log(n_clusters))
    norms2 = np.einsum("ij,ij->i", vectors, vectors)
    chosen = np.empty(n_clusters, dtype=np.int64)
    chosen[0] = generator.integers(n)
    nearest = _squared_distances(vectors, norms2, chosen[:1])[0]
    for step in range(1, n_clusters):
        cumulated = np.cumsum(nearest, dtype=np.float64)
        draws = generator.random(n_trials) * cumulated[-1]
        candidates = np.minimum(np.searchsorted(cumulated, draws), n - 1)
        distances = _squared_distances(vectors, norms2, candidates)
        np.minimum(distances, nearest, out=distances)
        best = int(np.argmin(distances.sum(axis=1, dtype=np.float64)))
        chosen[step] = candidates[best]
        nearest = distances[best]
    return vectors[chosen]


def _squared_distances(vectors: FloatArray, norms2: FloatArray, rows: RowArray) -> FloatArray:
    distances = norms2[rows][:, None] + norms2 - 2.0 * (vectors[rows] @ vectors.T)
    result: FloatArray = np.maximum(distances, 0.0, out=distances)
    return result
