"""The Numba backend's half that makes codes and searches clustered indexes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2m_rag._types import (
    METRICS,
    FloatArray,
    MaskArray,
    Metric,
    RowArray,
    ScoreArray,
    Segment,
    WordArray,
)
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.compute.clustered import (
    LANES,
    ByteArray,
    Clusters,
    Codes,
    NumberArray,
    Probe,
)
from m2m_rag.compute.clustered_base import mix_window
from m2m_rag.compute.numba_backend import codes, searching
from m2m_rag.compute.numba_backend.chosen import search_rows
from m2m_rag.compute.numba_backend.compiling import announce
from m2m_rag.compute.numba_backend.packing import Packed, SegmentTables, pack
from m2m_rag.compute.numba_backend.pool import CLUSTERS, PROBED

EXACT_PROBES = 64
"""Clusters probed first in an exact search, to find a bar."""
_ALL = np.zeros(0, dtype=np.bool_)
_INT64 = np.dtype(np.int64)  # NumPy looks up a type for 0.2 µs


class ClusteredSearch(ComputeBackend):
    """Codes and clustered search; one thread per call, without holding the GIL in kernels."""

    def __init__(self) -> None:
        self._tables = SegmentTables()

    def rotate(self, vectors: FloatArray, signs: FloatArray, order: NumberArray) -> FloatArray:
        """See `ComputeBackend.rotate`."""
        out = np.empty((len(vectors), signs.shape[1]), dtype=np.float32)
        codes.rotate_all(vectors, signs, order, mix_window(signs.shape[1]), out)
        return out

    def encode(
        self,
        rotated: FloatArray,
        centroids: FloatArray,
        labels: RowArray,
        along: FloatArray | None = None,
    ) -> Codes:
        """See `ComputeBackend.encode`."""
        n = len(rotated)
        shares = np.ones(n, dtype=np.float32) if along is None else along
        words = np.empty((n, rotated.shape[1] // 64), dtype=np.uint64)
        scale, inner, turned, share = np.empty((4, n), dtype=np.float32)
        codes.encode(rotated, centroids, labels, shares, words, scale, inner, turned, share)
        return Codes(words, scale, inner, turned, share)

    def scan_codes(
        self, blocks: ByteArray, planes: WordArray, step: float, along: float, base: float
    ) -> FloatArray:
        """See `ComputeBackend.scan_codes`."""
        out = np.empty(LANES * len(blocks), dtype=np.float32)
        by_word = np.ascontiguousarray(planes.T)
        codes.scan(blocks, by_word, np.float32(step), np.float32(along), np.float32(base), out)
        return out

    def pack(self, clusters: Clusters) -> Packed:
        """See `ComputeBackend.pack`."""
        announce("searching.search", str(searching.search.stats.cache_path))  # type: ignore[attr-defined]
        return pack(clusters)

    def route_clusters(
        self, packed: Packed, query: FloatArray, probe: Probe
    ) -> tuple[RowArray, FloatArray]:
        """See `ComputeBackend.route_clusters`."""
        n_fine = len(packed.clusters.fine)
        numbers, keys = np.empty(n_fine, dtype=_INT64), np.empty(n_fine, dtype=np.float32)
        found = searching.route_only(query, packed.numbers, probe.n_candidates, numbers, keys)
        return numbers[:found], keys[:found]

    def search_clusters(
        self,
        packed: Packed,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None = None,
        *,
        codes_only: bool = False,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """See `ComputeBackend.search_clusters`."""
        work = np.zeros((len(queries), PROBED), dtype=_INT64)
        rows, scores = self._search(
            packed, segments, n_indexed, queries, k, probe, allowed, codes_only, work
        )
        return rows, scores, work

    def probed_clusters(
        self,
        packed: Packed,
        segments: Sequence[Segment],
        n_indexed: int,
        query: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None = None,
        *,
        codes_only: bool = False,
    ) -> RowArray:
        """See `ComputeBackend.probed_clusters`."""
        work = np.zeros((1, PROBED + len(packed.clusters.fine)), dtype=_INT64)
        self._search(packed, segments, n_indexed, query[None], k, probe, allowed, codes_only, work)
        return work[0, PROBED : PROBED + int(work[0, CLUSTERS])]

    def _search(
        self,
        packed: Packed,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None,
        codes_only: bool,
        work: RowArray,
    ) -> tuple[RowArray, ScoreArray]:
        rows = np.empty((len(queries), k), dtype=_INT64)
        scores = np.empty((len(queries), k))
        searching.search(
            queries,
            packed.numbers,
            self._tables.of(segments),
            n_indexed,
            _ALL if allowed is None else allowed,
            *probe,
            codes_only,
            rows,
            scores,
            work,
        )
        return rows, scores

    def search_exactly(
        self,
        packed: Packed,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """See `ComputeBackend.search_exactly`."""
        rows = np.empty((len(queries), k), dtype=_INT64)
        scores = np.empty((len(queries), k))
        work = np.zeros((len(queries), PROBED), dtype=_INT64)
        searching.search_exactly(
            queries,
            packed.numbers,
            self._tables.of(segments),
            n_indexed,
            _ALL if allowed is None else allowed,
            EXACT_PROBES,
            LANES * int(packed.clusters.cells.capacity.sum()),
            rows,
            scores,
            work,
        )
        return rows, scores, work

    def search_rows(
        self,
        segments: Sequence[Segment],
        chosen: RowArray,
        queries: FloatArray,
        k: int,
        metric: Metric,
    ) -> tuple[RowArray, ScoreArray]:
        """See `ComputeBackend.search_rows`."""
        k = min(k, len(chosen))
        rows = np.empty((len(queries), k), dtype=_INT64)
        scores = np.empty((len(queries), k))
        if k:
            table = self._tables.of(segments)
            search_rows(queries, table, chosen, METRICS.index(metric), rows, scores)
        return rows, scores
