"""Clustering kernels: the nearest centroid from a matrix product, exact distances, cluster sums."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.numba_backend.compiling import kernel

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@kernel()
def _squared_distance(x: F32, c: F32) -> float:
    total = 0.0
    for j in range(x.shape[0]):
        difference = np.float64(x[j]) - np.float64(c[j])
        total += difference * difference
    return total


@kernel()
def nearest(
    products: F32, vectors: F32, centroids: F32, half_norms2: F32, reach: Any, slack: Any, out: Any
) -> None:
    """Write each row's nearest centroid.

    ``products[i, c] - half_norms2[c]`` orders centroids like their distance; its error is at most
    slack * (norm(x) + reach) * reach. Centroids within twice that of the best are compared
    canonically, so the answer does not depend on the order of the float32 sums.
    """
    n, n_centroids = products.shape
    for i in range(n):
        norm2 = np.float32(0.0)
        for j in range(vectors.shape[1]):
            norm2 += vectors[i, j] * vectors[i, j]
        margin = np.float32(2.0) * slack * (np.sqrt(norm2) + reach) * reach + np.float32(1e-37)
        best = products[i, 0] - half_norms2[0]
        label = 0
        for c in range(1, n_centroids):
            value = products[i, c] - half_norms2[c]
            if value > best:
                best = value
                label = c
        bar = best - margin
        rivals = 0
        for c in range(n_centroids):
            if products[i, c] - half_norms2[c] >= bar:
                rivals += 1
        if rivals > 1:
            least = np.inf
            for c in range(n_centroids):
                if products[i, c] - half_norms2[c] >= bar:
                    distance = _squared_distance(vectors[i], centroids[c])
                    if distance < least:
                        least = distance
                        label = c
        out[i] = label


@kernel()
def squared_distances(vectors: F32, centroids: F32, labels: Any, out: F64) -> None:
    for i in range(vectors.shape[0]):
        out[i] = _squared_distance(vectors[i], centroids[labels[i]])


@kernel()
def sums(vectors: F32, labels: Any, out: F64, sizes: Any) -> None:
    for i in range(vectors.shape[0]):
        label = labels[i]
        sizes[label] += 1
        for j in range(vectors.shape[1]):
            out[label, j] += vectors[i, j]
