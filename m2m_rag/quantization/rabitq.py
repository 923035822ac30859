"""RaBitQ: one bit a dimension, an unbiased estimate of the inner product, and its error bound.

Gao & Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound for
Approximate Nearest Neighbor Search", SIGMOD 2024, sections 3.1 to 3.3. With a random rotation P, a
vector x of the cluster with centroid c, its residual r = x - c and the signs s = sign(P r) in
{-1, 1}^D::

    <q - c, r>  ~  f <s, P(q - c)>    f = |r|² / |P r|_1
    error       <= 1.9 |q - c| e      e = |r| sqrt((1 - a²) / (a² (D - 1)))
                                      a = |P r|_1 / (|r| sqrt(D))

(theorem 3.2 with epsilon_0 = 1.9: it holds with probability about 0.95 or more, over the
rotation). Since <q, x> = <q, c> + <c, r> + <q - c, r>, the part that depends on c alone is one
number a vector, and the query is rotated and quantised once for all clusters::

    <q, x>  ~  <q, c> + g + f <s, P q>       g = <c, r> - f <s, P c>

The query's coordinates are quantised to 16 levels, the odd multiples of a step: sum of 2^p (±1)
over 4 planes. Then <s, plane> = D - 2 popcount(code XOR plane), and no further count is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, RowArray, ScoreArray
from m2m_rag.compute.base import PLANES, WORD_BITS
from m2m_rag.quantization.rotation import Rotation

EPSILON = 1.9
"""How many `Codes.error` times |q - c| the bound is wide (section 3.2 of the paper)."""
CHUNK_ROWS = 4096


class Codes(NamedTuple):
    """1-bit codes of n vectors.

    Attributes
    ----------
    words
        ``(n, padded / 64)`` uint64; bit i of word w is set where coordinate 64 w + i of the rotated
        residual is at least 0.
    scale, offset, error
        ``(n,)`` float32: f, g and e of the module's formulas; all 0 for a vector on its centroid,
        but for g, which then is 0 as well.
    """

    words: NDArray[np.uint64]
    scale: FloatArray
    offset: FloatArray
    error: FloatArray


class QueryPlanes(NamedTuple):
    """A rotated query in 4 bit-planes.

    Attributes
    ----------
    planes
        ``(4, padded / 64)`` uint64; plane p has the weight 2^p.
    step
        Half the distance of two levels: a coordinate is about step * sum of 2^p (±1).
    """

    planes: NDArray[np.uint64]
    step: float


def encode(
    vectors: FloatArray, centroids: FloatArray, labels: RowArray, rotation: Rotation
) -> Codes:
    """Code each of ``(n, d)`` vectors against its centroid.

    Parameters
    ----------
    vectors
        ``(n, d)`` float32.
    centroids
        ``(c, d)`` float32.
    labels
        ``(n,)`` centroid of each vector.
    rotation
        The rotation P.
    """
    n, padded = len(vectors), rotation.padded
    words = np.zeros((n, padded // WORD_BITS), dtype=np.uint64)
    scale, offset, error = (np.zeros(n, dtype=np.float32) for _ in range(3))
    rotated_centroids = rotation.apply(centroids)
    for start in range(0, n, CHUNK_ROWS):
        part = slice(start, start + CHUNK_ROWS)
        own = centroids[labels[part]]
        residuals = vectors[part] - own
        rotated = rotation.apply(residuals).astype(np.float64)
        signs = np.where(rotated >= 0.0, 1.0, -1.0)
        words[part] = pack_bits(rotated >= 0.0)
        norm2 = np.einsum("ij,ij->i", residuals, residuals, dtype=np.float64)
        norm1 = np.abs(rotated).sum(axis=1)
        f = np.divide(norm2, norm1, out=np.zeros_like(norm2), where=norm1 > 0.0)
        along = np.einsum("ij,ij->i", own, residuals, dtype=np.float64)
        turned = np.einsum("ij,ij->i", signs, rotated_centroids[labels[part]], dtype=np.float64)
        share = np.divide(norm1**2, norm2 * padded, out=np.ones_like(norm2), where=norm2 > 0.0)
        spread = np.maximum(1.0 - share, 0.0) / (share * (padded - 1))
        scale[part] = f
        offset[part] = along - f * turned
        error[part] = np.sqrt(norm2 * spread)
    return Codes(words, scale, offset, error)


def quantize_query(rotated: FloatArray) -> QueryPlanes:
    """Quantise one rotated query ``(padded,)`` to 16 levels."""
    largest = float(np.abs(rotated).max(initial=0.0))
    step = largest / (2**PLANES - 1)
    if step == 0.0:
        levels = np.zeros(len(rotated), dtype=np.int64)
    else:
        levels = np.floor(rotated.astype(np.float64) / (2.0 * step)) + 2 ** (PLANES - 1)
        levels = np.clip(levels, 0, 2**PLANES - 1).astype(np.int64)
    planes = [pack_bits(((levels >> plane) & 1)[None] == 1)[0] for plane in range(PLANES)]
    return QueryPlanes(np.stack(planes), step)


def estimate(codes: Codes, query: QueryPlanes, query_centroid: ScoreArray) -> ScoreArray:
    """Return the estimated inner products with the query: the definition of the code scan.

    Parameters
    ----------
    codes
        Codes of n vectors.
    query
        The query's planes.
    query_centroid
        ``(n,)`` exact <q, c> of each vector's centroid.
    """
    length = codes.words.shape[1] * WORD_BITS
    inner = np.zeros(len(codes.words))
    for plane, bits in enumerate(query.planes):
        differing = np.bitwise_count(codes.words ^ bits).sum(axis=1, dtype=np.int64)
        inner += 2.0**plane * (length - 2.0 * differing)
    result: ScoreArray = query_centroid + codes.offset + codes.scale * (query.step * inner)
    return result


def pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack ``(n, 64 w)`` bools into ``(n, w)`` words, the first into the lowest bit."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    return np.ascontiguousarray(packed).view("<u8").astype(np.uint64)
