"""Codes in blocks of 8: the layout that the code scan reads.

A block holds 8 vectors column-wise: ``words[b, w, lane]`` is word w of the code of vector
8 b + lane, so that one 512-bit load brings word w of all 8, and a block of d = 384 is 6 consecutive
cache lines.
The last block is filled up with vectors that no query can prefer (offset -inf).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray
from m2m_rag.compute.base import LANES
from m2m_rag.quantization.rabitq import Codes


class CodeBlocks(NamedTuple):
    """Codes of one cluster.

    Attributes
    ----------
    words
        ``(n_blocks, padded / 64, 8)`` uint64.
    scale, offset, error
        ``(8 * n_blocks,)`` float32, as in `Codes`.
    """

    words: NDArray[np.uint64]
    scale: FloatArray
    offset: FloatArray
    error: FloatArray


def to_blocks(codes: Codes) -> CodeBlocks:
    """Lay codes out in blocks, in their order."""
    n, n_words = codes.words.shape
    n_blocks = -(-n // LANES)
    words = np.zeros((n_blocks * LANES, n_words), dtype=np.uint64)
    words[:n] = codes.words
    columns = words.reshape(n_blocks, LANES, n_words).transpose(0, 2, 1)
    return CodeBlocks(
        np.ascontiguousarray(columns),
        _filled(codes.scale, n_blocks, 0.0),
        _filled(codes.offset, n_blocks, -np.inf),
        _filled(codes.error, n_blocks, 0.0),
    )


def _filled(values: FloatArray, n_blocks: int, value: float) -> FloatArray:
    out = np.full(n_blocks * LANES, value, dtype=np.float32)
    out[: len(values)] = values
    return out
