"""A fast random rotation: rounds of random permutations, signs and Hadamard transforms.

A dense random rotation of d dimensions costs d² multiply-adds (15 to 20 µs a query at d = 384);
this one costs 1 µs. Random signs before a normalised Walsh-Hadamard transform spread any vector
(Ailon & Chazelle, "The Fast Johnson-Lindenstrauss Transform", SIAM J. Comput. 2009, section 2);
transforms over parts of the coordinates, with permutations between them, need as many rounds as
carry every coordinate into every other, and one more to even it out. `ComputeBackend.rotate`
specifies a round; lengths and inner products are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray
from m2m_rag.compute.clustered import WORD_BITS
from m2m_rag.compute.clustered_base import MIX_LANES, mix_window

LEAST_ROUNDS = 4


class Rotator(Protocol):
    """What a rotation needs of a compute backend (`m2m_rag.compute.base` specifies it)."""

    def rotate(
        self, vectors: FloatArray, signs: FloatArray, order: NDArray[np.int32]
    ) -> FloatArray:
        """Return the rotated vectors."""
        ...


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of `dimension` coordinates, padded with zeros to whole words of code.

    Attributes
    ----------
    dimension
        Length of the vectors that come in.
    signs
        ``(rounds, padded)`` float32 of -1 and 1.
    order
        ``(rounds, padded)`` int32, a permutation each.
    """

    dimension: int
    signs: FloatArray
    order: NDArray[np.int32]

    @classmethod
    def random(cls, dimension: int, seed: int) -> Rotation:
        """Draw a rotation; one seed gives one rotation."""
        padded = -(-dimension // WORD_BITS) * WORD_BITS
        mixed = mix_window(padded) // MIX_LANES
        rounds = max(LEAST_ROUNDS, 1 + math.ceil(math.log(padded) / math.log(mixed)))
        generator = np.random.default_rng(seed)
        bits = generator.integers(0, 2, size=(rounds, padded))
        order = np.stack([generator.permutation(padded) for _ in range(rounds)])
        return cls(dimension, (2 * bits - 1).astype(np.float32), order.astype(np.int32))

    @property
    def padded(self) -> int:
        """Length of the vectors that come out, a multiple of 64."""
        return int(self.signs.shape[1])

    def apply(self, vectors: FloatArray, backend: Rotator) -> FloatArray:
        """Rotate ``(n, dimension)`` float32 vectors into ``(n, padded)``."""
        return backend.rotate(vectors, self.signs, self.order)
