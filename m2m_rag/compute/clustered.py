"""What one search of a clustered index reads: its arrays, their layout, and the search defined.

Everything lies in *rotated space*: P(x - center) for a stored vector x, scaled to unit length
under cosine. There, v(q, x) is what orders rows, the *value*::

    cosine   <q, x> / (|q| |x|)
    dot      <q, x>
    l2       <q', x'> - |x'|² / 2       q' = q - center, x' = x - center: orders like -|q - x|

A row's *estimate* of it comes from its 1-bit code (see `m2m_rag.quantization.rabitq`), and the
value lies within ``epsilon * scale * sqrt(spread² |q' - c|² + LOST |q'|²)`` of it with a
probability that epsilon sets: the code loses the first part, quantising the query the second.

A block holds 8 codes column-wise, so that one 512-bit load brings word w of all 8::

    words   (w, 8) uint64      word w of the code of each lane
    scale   (8,) float32       f of the module named above
    offset  (8,) float32       g of it; NaN in a lane that is not used

The search, for every backend:

1. Route. The query is rotated and quantised to `PLANES` bit-planes; the keys of all fine clusters
   are estimated by their centroids' own codes, which are coded against the coarse centroids; those
   of the best `n_candidates` or a few more (`cut`) are computed from their 8-bit form: they come
   first, best first, ties to the lower number.
2. Pilot. The rows of the first clusters that hold ``PILOT_ROWS * k / share`` codes together are
   ordered by estimate.
3. Choose. Besides the pilot's clusters, those are probed whose promise reaches the threshold: how
   many deviations the mean value of their rows lies above the k-th best estimate e, less a penalty
   for their place t in the route (from 0)::

       promise = (mean - e) / (width |q' - c|) - RANK_PENALTY floor(log2(1 + t))

   |q' - c| is that of the codes' bound, width the root mean square length of the residuals. Of the
   clusters that are no candidates yet, those become candidates, too, whose estimated key reaches
   the threshold at the place after the first ones; they come after them, best first. At most the
   first `n_probe` of the route are probed, but always the pilot's.
4. Probe. The vectors of the pilot's k best estimates are read: the k-th best value is the bar. The
   rows whose estimate plus bound passes it come into a pool; then they are read, best estimate
   first, as long as estimate plus bound passes the bar, which reading raises. They pass through a
   queue of `QUEUE`, in which memory is asked for their vectors ahead. A pool that is full
   (``POOL_A_RESULT * k``) is read at once.
5. The k best are scored canonically (`m2m_rag.compute.base`).

More probes, and a lower threshold, scan a superset of what fewer scan, so they lose no row whose
value is within its bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, Metric, RowArray, WordArray

ByteArray: TypeAlias = NDArray[np.uint8]
NumberArray: TypeAlias = NDArray[np.int32]

WORD_BITS, LANES, PLANES, FINE_PLANES = 64, 8, 3, 8
"""Layout of the code scan: bits of a word of code, codes of a block, bit-planes of a query and of
a query that is to be answered exactly."""
SPACING, FINE_SPACING = 0.5860, 0.0308
"""Distance of a query's levels, with `PLANES` and `FINE_PLANES`, over its coordinates' root mean
square: least mean squared error for Gaussian ones (Max, "Quantizing for Minimum Distortion", 1960,
table II). At equal recall, three planes cost 9 % less than four and 5 % less than two."""
UNBIASED = 1.0 / (1.0 - 0.03744)
"""Quantising with that spacing shortens a query by its distortion; estimates make up for it."""
LOST = UNBIASED - 1.0
"""Squared length of what quantising takes off a query of unit length, once made up for: 0.039.
Where clusters are tight (30 of them in l2, 30 times as far apart as they are wide), bounds without
it found 0.73 of the best ten in all clusters at epsilon 2.4, and find 0.99 with it."""
PILOT_ROWS = 24
"""Codes scanned for each result wanted before the first vector is read."""
RANK_PENALTY = 0.05
"""Makes up for what the promise does not know: neighbours crowd in the first clusters. Clusters
probed for recall@10 of 0.95 and 0.99 on 100,000 texts (real queries): all queries the same number
37 and 154, by promise without the penalty 74 and 198, with 0.04 30 and 85, with 0.08 25 and 81. The
lower the penalty, the less a threshold depends on the kind of queries it was measured on: taken
from members, the thresholds for 0.95 and 0.99 gave queries of another kind 0.933 and 0.990 with
0.04, 0.898 and 0.975 with 0.08; the same number for all queries gave 0.852 and 0.938."""
POOL_A_RESULT = 32
"""Rows that may wait to be read for each result wanted."""
QUEUE = 8
"""Candidates whose vectors are on their way."""
CUT_STEPS = 16
"""Halvings of the range in which the cut between candidate centroids is sought."""
ROUNDING = 4.0 * 2.0**-24
"""A float32 value of unit vectors of n (padded) coordinates is off by less than ROUNDING (n + 16):
twice the bound of Higham (2002), section 3.1, for products, rotation and comparison together."""

LOD: TypeAlias = Literal[0, 1, 2]


class Facts(NamedTuple):
    """Columns of `Clusters.facts`, one float32 a fine cluster.

    Attributes
    ----------
    key_scale, key_bias
        The key that orders clusters is ``key_scale <P q', fine> + key_bias``.
    length
        ``(key - key_bias) * length`` is <P q', c> with the cluster's code centroid c.
    norm2
        |c|².
    sign_sum
        The largest absolute <s, c> over the signs s of the cluster's codes.
    share
        The least share (see `Codes`) of the cluster's codes.
    middle
        The mean value of the cluster's rows is ``along * middle + base``, of what takes an offset
        to its estimate (`m2m_rag.quantization.rabitq`).
    width
        The root mean square length of the cluster's residuals.
    """

    key_scale: int = 0
    key_bias: int = 1
    length: int = 2
    norm2: int = 3
    sign_sum: int = 4
    share: int = 5
    middle: int = 6
    width: int = 7


FACT = Facts()


class Codes(NamedTuple):
    """Codes of n vectors, before they are laid out in blocks.

    Attributes
    ----------
    words
        ``(n, padded / 64)`` uint64; bit i of word w is set where coordinate 64 w + i of the rotated
        residual is at least 0.
    scale, inner, turned
        ``(n,)`` float32: f, <c, r> and <s, c> of `m2m_rag.quantization.rabitq`.
    share
        ``(n,)`` float32: how much of the residual's squared length lies along its signs; 1 for a
        vector on its centroid.
    """

    words: WordArray
    scale: FloatArray
    inner: FloatArray
    turned: FloatArray
    share: FloatArray


@dataclass(frozen=True, slots=True)
class Cells:
    """Where each cluster's codes and rows lie: a run of blocks in one of several arenas.

    Attributes
    ----------
    arenas
        ``(n, block_bytes)`` uint8 blocks and ``(8 * n,)`` int32 rows each, -1 in unused lanes.
    arena, start, capacity
        ``(n_fine,)`` int32: the arena, first block and number of blocks of each cluster.
    """

    arenas: Sequence[tuple[ByteArray, NumberArray]]
    arena: NumberArray
    start: NumberArray
    capacity: NumberArray

    def codes(self, number: int) -> ByteArray:
        """Return a view of a cluster's blocks."""
        first = self.start[number]
        blocks = self.arenas[int(self.arena[number])][0]
        view: ByteArray = blocks[first : first + self.capacity[number]]
        return view

    def rows(self, number: int) -> NumberArray:
        """Return a view of the rows of a cluster's lanes."""
        first, last = self.start[number], self.start[number] + self.capacity[number]
        view: NumberArray = self.arenas[int(self.arena[number])][1][LANES * first : LANES * last]
        return view

    def addresses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where in memory each cluster's blocks and rows begin."""
        blocks = np.array([part.ctypes.data for part, _ in self.arenas], dtype=np.int64)
        rows = np.array([part.ctypes.data for _, part in self.arenas], dtype=np.int64)
        size = self.arenas[0][0].shape[1]
        first = self.start.astype(np.int64)
        return blocks[self.arena] + size * first, rows[self.arena] + 4 * LANES * first

    @property
    def n_bytes(self) -> int:
        """Memory that the arenas take."""
        return sum(blocks.nbytes + rows.nbytes for blocks, rows in self.arenas)


class Clusters(NamedTuple):
    """One state of an index, read by searches and never changed where they read.

    Attributes
    ----------
    metric
        Which value.
    dimension
        d, the length of stored vectors.
    signs, order
        ``(rounds, padded)`` float32 and int32: the rotation.
    center
        ``(d,)`` float32, subtracted first; zeros unless the metric is l2.
    coarse
        ``(n_coarse, padded)`` float32 coarse centroids.
    coarse_first
        ``(n_coarse + 1,)`` int32: the codes of the fine centroids of coarse cluster c are blocks
        `coarse_first[c]` to `coarse_first[c + 1] - 1` of `centroid_blocks`.
    centroid_blocks
        ``(n_blocks, block_bytes)`` uint8.
    centroid_slots
        ``(8 * n_blocks,)`` int32: which fine cluster a lane stands for, or -1.
    fine
        ``(n_fine, padded)`` int8 fine centroids, to be scaled by `facts`.
    facts
        ``(8, n_fine)`` float32, see `Facts`.
    cells
        Each cluster's codes and rows.
    sizes
        ``(n_fine,)`` int32: lanes in use; the rest of the last block, and further blocks, are not.
    spread
        sqrt(1 - share), its root mean square over the codes.
    reach
        The largest length of a vector in rotated space.
    """

    metric: Metric
    dimension: int
    signs: FloatArray
    order: NumberArray
    center: FloatArray
    coarse: FloatArray
    coarse_first: NumberArray
    centroid_blocks: ByteArray
    centroid_slots: NumberArray
    fine: NDArray[np.int8]
    facts: FloatArray
    cells: Cells
    sizes: NumberArray
    spread: float
    reach: float


class Probe(NamedTuple):
    """How far one search goes.

    Attributes
    ----------
    n_probe
        Clusters to probe at most; the pilot's are always probed.
    n_candidates
        Centroids to compare exactly before the pilot: without a threshold at least `n_probe`, with
        one as many as the pilot needs.
    epsilon
        Width of the bound; larger misses less and reads more.
    threshold
        The promise that a cluster must reach; -inf: all `n_probe` are probed.
    share
        The share of the rows that is allowed, about: the pilot is so much larger.
    """

    n_probe: int
    n_candidates: int
    epsilon: float
    threshold: float = -np.inf
    share: float = 1.0


class Work(NamedTuple):
    """What one query cost: clusters probed, codes scanned, vectors read."""

    clusters: int
    codes: int
    vectors: int


def block_bytes(n_words: int) -> int:
    """Return the size of a block of codes of `n_words` words: a multiple of a cache line."""
    return LANES * 8 * (n_words + 1)


def empty_blocks(n_blocks: int, n_words: int, unused: float = np.nan) -> ByteArray:
    """Return blocks without a code in them; the offset of their lanes is `unused`."""
    blocks = np.zeros((n_blocks, block_bytes(n_words)), dtype=np.uint8)
    _parts(blocks)[2][:] = unused
    return blocks


def put_codes(blocks: ByteArray, lanes: RowArray, codes: Codes, offset: FloatArray) -> None:
    """Write codes into lanes of blocks, with offsets of their own.

    The offset comes last: until then the lane reads as unused.
    """
    at, lane = lanes // LANES, lanes % LANES
    all_words, all_scales, all_offsets = _parts(blocks)
    all_words[at, :, lane] = codes.words
    all_scales[at, lane] = codes.scale
    all_offsets[at, lane] = offset


def _parts(blocks: ByteArray) -> tuple[WordArray, FloatArray, FloatArray]:
    n_words = blocks.shape[1] // (LANES * 8) - 1
    split = LANES * 8 * n_words
    words = blocks[:, :split].view(np.uint64).reshape(len(blocks), n_words, LANES)
    floats = blocks[:, split:].view(np.float32)
    return words, floats[:, :LANES], floats[:, LANES:]
