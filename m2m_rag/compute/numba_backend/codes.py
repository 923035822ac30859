"""Kernels that make codes: the rotation, a query's bit-planes, the codes of stored vectors.

The rotation of 384 coordinates takes 1.0 µs, of which half are the permutations: sums and
differences run over 16 coordinates at a time. (A Hadamard transform over neighbouring coordinates,
whose last stages LLVM does not vectorise, took 4.5 µs.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.compute.clustered import WORD_BITS
from m2m_rag.compute.clustered_base import MIX_LANES
from m2m_rag.compute.numba_backend.compiling import kernel
from m2m_rag.compute.numba_backend.intrinsics import bit_of_bytes, butterfly, scan_block

F32 = NDArray[np.float32]


@kernel()
def rotate(vector: F32, signs: F32, order: Any, window: int, spare: F32, out: F32) -> None:
    """Write the rotated vector to `out`; `spare` is as long. See `ComputeBackend.rotate`."""
    rounds, padded = signs.shape
    d = vector.shape[0]
    for j in range(d):
        out[j] = vector[j]
    for j in range(d, padded):
        out[j] = np.float32(0.0)
    scale = np.float32(1.0 / np.sqrt(window // MIX_LANES))
    address = spare.ctypes.data
    for turn in range(rounds):
        for j in range(padded):
            spare[j] = out[np.uint32(order[turn, j])] * signs[turn, j]
        half = MIX_LANES
        while half < window:
            for start in range(0, padded, 2 * half):
                for j in range(start, start + half, MIX_LANES):
                    butterfly(np.uint64(address + 4 * j), np.uint64(address + 4 * (j + half)))
            half *= 2
        for j in range(padded):
            out[j] = spare[j] * scale


@kernel(allocates=True)
def rotate_all(vectors: F32, signs: F32, order: Any, window: int, out: F32) -> None:
    spare = np.empty(signs.shape[1], dtype=np.float32)
    for i in range(vectors.shape[0]):
        rotate(vectors[i], signs, order, window, spare, out[i])


@kernel(fastmath={"nnan", "nsz"})
def quantise(
    rotated: F32, length: float, spacing: float, n_planes: int, levels: Any, planes: Any
) -> Any:
    """Write a query's bit-planes, word by word, and return its step.

    Levels are the odd multiples of the step: a coordinate is about step * sum of 2^p (±1).
    `length` is the query's length; `levels` has room for a byte a coordinate.
    """
    half = np.float32(2 ** (n_planes - 1))
    top = np.float32(2**n_planes - 1)
    step = np.float32(0.5 * spacing * length / np.sqrt(rotated.shape[0]))
    inverse = np.float32(0.5) / step if step > np.float32(0.0) else np.float32(0.0)
    for j in range(rotated.shape[0]):
        level = np.floor(rotated[j] * inverse) + half
        level = level if level > np.float32(0.0) else np.float32(0.0)
        level = level if level < top else top
        levels[j] = np.uint8(np.int32(level))
    address = levels.ctypes.data
    for w in range(rotated.shape[0] // WORD_BITS):
        for p in range(n_planes):
            planes[n_planes * w + p] = bit_of_bytes(np.uint64(address + WORD_BITS * w), p)
    return step


@kernel()
def encode(
    rotated: F32, centroids: F32, labels: Any, along: F32, words: Any, scale: F32, inner: F32,
    turned: F32, share: F32,
) -> None:  # fmt: skip
    """See `ComputeBackend.encode`."""
    n, padded = rotated.shape
    for i in range(n):
        centroid = centroids[labels[i]]
        norm1, norm2, product, total = 0.0, 0.0, 0.0, 0.0
        for w in range(padded // WORD_BITS):
            word = np.uint64(0)
            for bit in range(WORD_BITS):
                j = WORD_BITS * w + bit
                r = np.float64(rotated[i, j] - along[i] * centroid[j])
                c = np.float64(centroid[j])
                if r >= 0.0:
                    word |= np.uint64(1) << np.uint64(bit)
                    norm1 += r
                    total += c
                else:
                    norm1 -= r
                    total -= c
                norm2 += r * r
                product += c * r
            words[i, w] = word
        scale[i] = norm2 / norm1 if norm1 > 0.0 else 0.0
        inner[i] = product
        turned[i] = total
        share[i] = norm1 * norm1 / (norm2 * padded) if norm2 > 0.0 else 1.0


@kernel()
def scan(blocks: Any, planes: Any, step: Any, along: Any, base: Any, out: F32) -> None:
    """See `ComputeBackend.scan_codes`; `planes` ``(w, 4)``."""
    n_words = planes.shape[0]
    block, plane, result = blocks.ctypes.data, np.uint64(planes.ctypes.data), out.ctypes.data
    nothing = np.float32(0.0)
    for b in range(blocks.shape[0]):
        scan_block(
            np.uint64(block + b * blocks.shape[1]),
            plane,
            n_words,
            step,
            nothing,
            along,
            base,
            nothing,
            np.uint64(result + 32 * b),
        )
