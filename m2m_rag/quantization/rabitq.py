"""RaBitQ: one bit a dimension, an unbiased estimate of the inner product, and its error bound.

Gao & Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for
Approximate Nearest Neighbor Search", SIGMOD 2024, sections 3.1 to 3.3. All vectors here are
rotated. A vector x of the cluster with centroid c is split into t c + r, and of the residual r the
signs s in {-1, 1}^D are kept, which hold the share a² = |r|_1² / (|r|² D) of its squared length::

    <q, r>  ~  f <s, q - k c> + k <c, r>        f = |r|² / |r|_1
    error   <= epsilon |q - k c| e              e = f sqrt(1 - a²)

for any k: errors are nearly Gaussian with the standard deviation |q - k c| e (theorem 3.2; e is
|r| sqrt((1 - a²) / (a² D)), the paper divides by D - 1). So <q, x> has a part that is known with
the cluster, and one number a vector. Two splits are used.

Under l2, t = 1 and k = 1 (the paper's), since a query is near the centroids that it probes::

    <q, x> - |x|²/2  ~  <q, c> + g + f <s, q>       g = <c, r> - f <s, c> - |x|²/2

Under cosine and dot, t = <x, c> / |c|² and k = <q, c> / |c|²: residual and query are both taken
perpendicular to the centroid, and |q - k c| is the shortest there is. On 100,000 unit vectors
(d = 384) exact search then has to read 35 % of the vectors instead of 80 %::

    <q, x>  ~  <q, c> g + f <s, q>                  g = t - f <s, c> / |c|²

The query's coordinates are quantised to odd multiples of a step: sum of 2^p (±1) over its planes.
Then <s, plane> = D - 2 popcount(code XOR plane), and no further count is needed.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from m2m_rag._types import FloatArray, Metric, RowArray
from m2m_rag.compute.clustered import Codes


class Encoder(Protocol):
    """What coding needs of a compute backend (`m2m_rag.compute.base` specifies it)."""

    def encode(
        self,
        rotated: FloatArray,
        centroids: FloatArray,
        labels: RowArray,
        along: FloatArray | None = None,
    ) -> Codes:
        """Return the codes of rotated vectors."""
        ...


def code(
    rotated: FloatArray,
    centroids: FloatArray,
    labels: RowArray,
    metric: Metric,
    backend: Encoder,
) -> tuple[Codes, FloatArray]:
    """Return the codes of rotated vectors, and their ``(n,)`` float32 offsets g.

    Parameters
    ----------
    rotated
        ``(n, padded)`` float32.
    centroids
        ``(c, padded)`` float32, rotated.
    labels
        ``(n,)`` the centroid of each vector.
    metric
        Which split.
    backend
        Encodes.
    """
    if metric == "l2":
        codes = backend.encode(rotated, centroids, labels)
        halves = np.einsum("ij,ij->i", rotated, rotated, dtype=np.float64) / 2.0
        offset = codes.inner - codes.scale.astype(np.float64) * codes.turned - halves
    else:
        inner = np.einsum("ij,ij->i", rotated, centroids[labels], dtype=np.float64)
        norm2 = np.einsum("ij,ij->i", centroids, centroids, dtype=np.float64)
        norm2 = np.where(norm2 > 0.0, norm2, 1.0)[labels]
        along = (inner / norm2).astype(np.float32)
        codes = backend.encode(rotated, centroids, labels, along)
        offset = along - codes.scale.astype(np.float64) * codes.turned / norm2
    return codes, offset.astype(np.float32)
