"""The reference for codes and clustered search: each step as its definition says it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray, Segment, WordArray
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.compute.clustered import (
    LANES,
    WORD_BITS,
    ByteArray,
    Clusters,
    Codes,
    NumberArray,
    Probe,
    Work,
)
from m2m_rag.compute.clustered_base import MIX_LANES, mix_window
from m2m_rag.compute.numpy_backend.searching import Query

F32 = np.float32


class ClusteredSearch(ComputeBackend):
    """Codes and clustered search in numpy and plain loops."""

    def rotate(self, vectors: FloatArray, signs: FloatArray, order: NumberArray) -> FloatArray:
        """See `ComputeBackend.rotate`."""
        n, padded = len(vectors), signs.shape[1]
        window = mix_window(padded)
        rotated = np.zeros((n, padded), dtype=np.float32)
        rotated[:, : vectors.shape[1]] = vectors
        scale = F32(1.0 / np.sqrt(window // MIX_LANES))
        for flips, places in zip(signs, order, strict=True):
            mixed = rotated[:, places] * flips
            half = 1
            while half < window // MIX_LANES:
                pairs = mixed.reshape(n, -1, 2, half, MIX_LANES)
                left, right = pairs[:, :, 0], pairs[:, :, 1]
                mixed = np.stack([left + right, left - right], axis=2).reshape(n, padded)
                half *= 2
            rotated = mixed * scale
        return rotated

    def encode(
        self,
        rotated: FloatArray,
        centroids: FloatArray,
        labels: RowArray,
        along: FloatArray | None = None,
    ) -> Codes:
        """See `ComputeBackend.encode`."""
        own = centroids[labels]
        residuals = rotated - (own if along is None else own * along[:, None])
        norm1, norm2, inner, turned = np.zeros((4, len(rotated)))
        for residual, centroid in zip(residuals.T.astype(np.float64), own.T, strict=True):
            norm1 += np.abs(residual)
            norm2 += residual * residual
            inner += centroid.astype(np.float64) * residual
            turned += np.where(residual >= 0.0, 1.0, -1.0) * centroid
        some = norm2 > 0.0
        scale = np.divide(norm2, norm1, out=np.zeros_like(norm1), where=some)
        share = np.divide(
            norm1 * norm1, norm2 * rotated.shape[1], out=np.ones_like(norm1), where=some
        )
        packed = np.packbits(residuals >= 0.0, axis=1, bitorder="little")
        words = np.ascontiguousarray(packed).view("<u8").astype(np.uint64)
        return Codes(words, *(part.astype(np.float32) for part in (scale, inner, turned, share)))

    def scan_codes(
        self, blocks: ByteArray, planes: WordArray, step: float, along: float, base: float
    ) -> FloatArray:
        """See `ComputeBackend.scan_codes`."""
        n_blocks, n_words = len(blocks), planes.shape[1]
        split = LANES * 8 * n_words
        words = np.ascontiguousarray(blocks[:, :split]).view(np.uint64)
        words = words.reshape(n_blocks, n_words, LANES)
        floats = np.ascontiguousarray(blocks[:, split:]).view(np.float32)
        inner = np.zeros((n_blocks, LANES), dtype=np.int64)
        for plane, bits in enumerate(planes):
            differing = np.bitwise_count(words ^ bits[None, :, None]).sum(axis=1, dtype=np.int64)
            inner += (WORD_BITS * n_words - 2 * differing) << plane
        scale, offset = floats[:, :LANES], floats[:, LANES:]
        placed = offset * F32(along) + F32(base)
        estimates: FloatArray = scale * (F32(step) * inner.astype(F32)) + placed
        return estimates.ravel()

    def pack(self, clusters: Clusters) -> Clusters:
        """See `ComputeBackend.pack`."""
        return clusters

    def route_clusters(
        self, packed: Clusters, query: FloatArray, probe: Probe
    ) -> tuple[RowArray, FloatArray]:
        """See `ComputeBackend.route_clusters`."""
        return Query(self, packed, [], 0, query, 1, probe, None).candidates()

    def search_clusters(
        self,
        packed: Clusters,
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
        results = [
            Query(self, packed, segments, n_indexed, query, k, probe, allowed).run(codes_only)
            for query in queries
        ]
        rows = np.full((len(queries), k), -1)
        scores, work = np.zeros((len(queries), k)), np.zeros((len(queries), len(Work._fields)), int)
        for i, (found, values, cost) in enumerate(results):
            rows[i, : len(found)], scores[i, : len(found)], work[i] = found, values, cost
        return rows, scores, work

    def probed_clusters(
        self,
        packed: Clusters,
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
        way = Query(self, packed, segments, n_indexed, query, k, probe, allowed)
        way.run(codes_only)
        return way.probed

    def search_exactly(
        self,
        packed: Clusters,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """See `ComputeBackend.search_exactly`."""
        used = [packed.cells.rows(c)[:size] for c, size in enumerate(packed.sizes.tolist())]
        indexed = np.sort(np.concatenate(used)).astype(np.int64)
        n_rows = segments[-1].stop
        rest = np.arange(n_indexed, n_rows)
        indexed = np.concatenate([indexed[indexed < n_indexed], rest])
        if allowed is not None:
            indexed = indexed[allowed[indexed]]
        rows, scores = np.full((len(queries), k), -1), np.zeros((len(queries), k))
        found = min(k, len(indexed))
        rows[:, :found], scores[:, :found] = self.search_rows(
            segments, indexed, queries, k, packed.metric
        )
        work = np.full((len(queries), 3), Work(len(packed.fine), 0, len(indexed)))
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
        parts = [segments[0].vectors[:0]]
        for first, vectors in segments:
            parts.append(
                vectors[chosen[(chosen >= first) & (chosen < first + len(vectors))] - first]
            )
        vectors = np.concatenate(parts)
        rows, scores = self.top_k(queries, vectors, self.squared_norms(vectors), k, metric)
        return chosen[rows], scores
