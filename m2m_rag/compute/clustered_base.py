"""The contract of a compute backend's other half: codes, and search through a clustered index."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from m2m_rag._types import (
    FloatArray,
    MaskArray,
    Metric,
    RowArray,
    ScoreArray,
    Segment,
    WordArray,
)
from m2m_rag.compute.clustered import (
    ByteArray,
    Clusters,
    Codes,
    NumberArray,
    Probe,
)

MIX_LANES = 16
"""Coordinates that stand side by side in a rotation: sums and differences are taken between groups
of as many, so that each is one vector instruction."""


def mix_window(padded: int) -> int:
    """Return over how many coordinates one round of a rotation mixes.

    That is `MIX_LANES` times the largest power of two that divides the number of groups: 128 of
    384, and 1024 of 1024.
    """
    groups = padded // MIX_LANES
    return MIX_LANES * (groups & -groups)


class ClusteredBackend(ABC):
    """Codes, and search through clusters of them, as `m2m_rag.compute.clustered` defines it."""

    @abstractmethod
    def rotate(self, vectors: FloatArray, signs: FloatArray, order: NumberArray) -> FloatArray:
        """Return the ``(n, padded)`` rotated vectors.

        Each round permutes the coordinates (``new[j] = old[order[j]]``), flips signs, takes the
        Walsh-Hadamard transform across the groups of `MIX_LANES` coordinates within each window of
        `mix_window` coordinates, and multiplies by the float32 next to
        ``(window / MIX_LANES) ** -0.5``. All steps are float32, so every backend gives the same
        bits.

        Parameters
        ----------
        vectors
            ``(n, d)`` float32, d at most `padded`; filled up with zeros.
        signs, order
            ``(rounds, padded)`` float32 of -1 and 1, and int32 permutations.
        """

    @abstractmethod
    def encode(
        self,
        rotated: FloatArray,
        centroids: FloatArray,
        labels: RowArray,
        along: FloatArray | None = None,
    ) -> Codes:
        """Return the codes of rotated vectors.

        With r = rotated - along * centroid in float32 and its signs s (+1 for zero), in float64
        and in the order of the dimensions: scale = |r|² / |r|_1, inner = <c, r>, turned = <s, c>
        and share = |r|_1² / (|r|² D).

        Parameters
        ----------
        rotated
            ``(n, padded)`` float32.
        centroids
            ``(c, padded)`` float32, rotated.
        labels
            ``(n,)`` the centroid of each vector.
        along
            ``(n,)`` float32, 1 when None: how much of its centroid to take off each vector.
        """

    @abstractmethod
    def scan_codes(
        self, blocks: ByteArray, planes: WordArray, step: float, along: float, base: float
    ) -> FloatArray:
        """Return the estimated inner products of one query with the codes of one cluster.

        For code i and the query's planes p, in float32 and this order::

            inner = sum of 2^p (64 w - 2 popcount(code XOR plane p))
            scale[i] * (step * inner) + (offset[i] * along + base)

        Parameters
        ----------
        blocks
            ``(n_blocks, block_bytes)`` uint8, the layout of `m2m_rag.compute.clustered`.
        planes
            ``(n_planes, w)`` uint64.
        step, along, base
            The query's step, and what takes the offset to the value.

        Returns
        -------
        FloatArray
            ``(8 * n_blocks,)`` float32.
        """

    @abstractmethod
    def pack(self, clusters: Clusters) -> Any:
        """Return a state of an index in the form that this backend's searches take.

        The arrays must stay as they are, but for lanes beyond `Clusters.sizes` and those sizes.
        """

    @abstractmethod
    def route_clusters(
        self, packed: Any, query: FloatArray, probe: Probe
    ) -> tuple[RowArray, FloatArray]:
        """Return the clusters that a search compares exactly, best first, and their keys.

        A search probes some of the first `Probe.n_probe` of them.

        Parameters
        ----------
        packed
            What `pack` returned.
        query
            ``(d,)`` float32.
        probe
            How far to go.
        """

    @abstractmethod
    def search_clusters(
        self,
        packed: Any,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None = None,
        *,
        codes_only: bool = False,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """Search an index as `m2m_rag.compute.clustered` defines it.

        Parameters
        ----------
        packed
            What `pack` returned.
        segments
            Where the rows' vectors lie.
        n_indexed
            Rows from this one on are read one by one; codes of such rows are ignored.
        queries
            ``(m, d)`` float32, C-contiguous, finite.
        k
            At least 1.
        probe
            How far to go.
        allowed
            One bool a row, or None for all.
        codes_only
            Read no vector: the scores are estimates.

        Returns
        -------
        rows, scores, work
            ``(m, k)`` int64 and float64, ordered, and ``(m, 3)`` int64, a `Work` for each query.
            Where the probed clusters hold fewer than k rows, the rest are -1, and so are all for a
            zero query under cosine or dot, with which all rows tie.
        """

    @abstractmethod
    def probed_clusters(
        self,
        packed: Any,
        segments: Sequence[Segment],
        n_indexed: int,
        query: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None = None,
        *,
        codes_only: bool = False,
    ) -> RowArray:
        """Return the numbers of the clusters that a search probes, best first.

        Parameters
        ----------
        query
            ``(d,)`` float32.
        packed, segments, n_indexed, k, probe, allowed, codes_only
            As for `search_clusters`.
        """

    @abstractmethod
    def search_exactly(
        self,
        packed: Any,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """Return what `top_k` returns for the rows of an index and those after, with what it cost.

        Parameters
        ----------
        packed, segments, n_indexed, queries, k, allowed
            As for `search_clusters`.
        """

    @abstractmethod
    def search_rows(
        self,
        segments: Sequence[Segment],
        chosen: RowArray,
        queries: FloatArray,
        k: int,
        metric: Metric,
    ) -> tuple[RowArray, ScoreArray]:
        """Return what `top_k` returns for some rows only.

        Parameters
        ----------
        segments
            Where the rows' vectors lie.
        chosen
            ``(n,)`` int64 rows, ascending.
        queries, k, metric
            As for `top_k`.
        """
