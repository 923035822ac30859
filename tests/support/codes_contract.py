"""The contract of a compute backend's codes and clustered search, as tests."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest

from m2m_rag._types import METRICS, Segment
from m2m_rag.compute import get_backend
from m2m_rag.compute.clustered import Codes, Probe, empty_blocks, put_codes
from m2m_rag.compute.clustered_base import mix_window
from m2m_rag.index.hrm2.building import build
from m2m_rag.index.hrm2.state import Settings
from m2m_rag.quantization import Rotation


def rotated_by_loops(vector, signs, order):
    """Rotate one vector by the definition, in float32."""
    rounds, padded = signs.shape
    values = [np.float32(x) for x in vector] + [np.float32(0)] * (padded - len(vector))
    window = mix_window(padded)
    scale = np.float32(1.0 / np.sqrt(window // 16))
    for turn in range(rounds):
        values = [values[order[turn, j]] * signs[turn, j] for j in range(padded)]
        half = 16
        while half < window:
            for start in range(0, padded, 2 * half):
                for j in range(start, start + half):
                    a, b = values[j], values[j + half]
                    values[j], values[j + half] = a + b, a - b
            half *= 2
        values = [value * scale for value in values]
    return values


class CodesContract:
    """Rotation, coding and the scan of codes; a subclass gives the fixture `backend`."""

    @pytest.mark.parametrize("d", [1, 64, 100, 384])
    def test_rotation_equals_the_loops(self, backend, d):
        rotation = Rotation.random(d, seed=d)
        vectors = np.random.default_rng(d).normal(size=(3, d)).astype(np.float32)
        found = backend.rotate(vectors, rotation.signs, rotation.order)
        assert found.dtype == np.float32
        for vector, mine in zip(vectors, found, strict=True):
            assert mine.tolist() == rotated_by_loops(vector, rotation.signs, rotation.order)

    @pytest.mark.parametrize("is_partial", [False, True])
    def test_codes_equal_the_loops(self, backend, is_partial):
        rng = np.random.default_rng(3)
        rotated = rng.normal(size=(20, 128)).astype(np.float32)
        centroids = rng.normal(size=(4, 128)).astype(np.float32)
        labels = rng.integers(4, size=20)
        rotated[0] = centroids[labels[0]]
        along = rng.normal(size=20).astype(np.float32) if is_partial else None
        if along is not None:
            along[0] = 1.0
        codes = backend.encode(rotated, centroids, labels, along)
        for i in range(20):
            c = centroids[labels[i]]
            share = np.float32(1.0) if along is None else along[i]
            r = [float(np.float32(x) - share * y) for x, y in zip(rotated[i], c, strict=True)]
            norm1 = norm2 = inner = turned = 0.0
            for x, y in zip(r, c.tolist(), strict=True):
                norm1 += abs(x)
                norm2 += x * x
                inner += y * x
                turned += y if x >= 0.0 else -y
            bits = sum(1 << j for j, x in enumerate(r) if x >= 0.0)
            assert [int(w) for w in codes.words[i]] == [bits & (2**64 - 1), bits >> 64]
            assert codes.scale[i] == np.float32(norm2 / norm1 if norm1 else 0.0)
            assert codes.inner[i] == np.float32(inner)
            assert codes.turned[i] == np.float32(turned)
            expected = norm1 * norm1 / (norm2 * 128) if norm2 else 1.0
            assert codes.share[i] == np.float32(expected)

    @pytest.mark.parametrize(("n", "n_words"), [(8, 1), (21, 2), (40, 6), (9, 12), (0, 3)])
    def test_scan_equals_the_loops(self, backend, n, n_words):
        rng = np.random.default_rng(n_words)
        words = rng.integers(0, 2**64, size=(n, n_words), dtype=np.uint64)
        planes = rng.integers(0, 2**64, size=(3, n_words), dtype=np.uint64)
        scale, offset = rng.normal(size=(2, n)).astype(np.float32)
        blocks = empty_blocks(-(-n // 8), n_words)
        none = np.zeros(n, np.float32)
        put_codes(blocks, np.arange(n), Codes(words, scale, none, none, none), offset)
        found = backend.scan_codes(blocks, planes, 0.37, 1.3, -0.2)
        assert found.dtype == np.float32
        assert len(found) == 8 * len(blocks)
        assert np.isnan(found[n:]).all()
        f = np.float32
        for i in range(n):
            inner = 0
            for w in range(n_words):
                for p in range(3):
                    differing = int(words[i, w]) ^ int(planes[p, w])
                    inner += 2**p * (64 - 2 * differing.bit_count())
            placed = offset[i] * f(1.3) + f(-0.2)
            assert found[i] == scale[i] * (f(0.37) * f(inner)) + placed


def data(n, d, metric, seed=0):
    """Clustered vectors and queries; under dot and l2 of uneven lengths, off the origin."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, n // 40), d))
    vectors = centres[rng.integers(len(centres), size=n)] + 0.5 * rng.normal(size=(n, d))
    queries = vectors[rng.integers(n, size=12)] + 0.3 * rng.normal(size=(12, d))
    if metric != "cosine":
        vectors *= rng.uniform(0.5, 2.0, size=(n, 1))
        vectors += 3.0
    return vectors.astype(np.float32), queries.astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
class ClusteredSearchContract:
    """Search through an index; a subclass gives the fixture `backend`."""

    def indexed(self, backend, metric, n=900, d=40, n_indexed=None, seed=0):
        vectors, queries = data(n, d, metric, seed)
        segments = [Segment(0, vectors[:300]), Segment(300, vectors[300:])]
        rows = np.arange(n if n_indexed is None else n_indexed)
        clusters, _ = build(segments, rows, Settings(metric), backend)
        return vectors, queries, segments, backend.pack(clusters), clusters

    def expected(self, queries, vectors, k, metric, allowed=None):
        listed = vectors.tolist()
        return [oracle.top_k(query.tolist(), listed, k, metric, allowed) for query in queries]

    @pytest.mark.parametrize("n_indexed", [900, 640])
    @pytest.mark.parametrize("share", [1.0, 0.2, 0.0])
    def test_exact_search_equals_the_loops(self, backend, metric, n_indexed, share):
        vectors, queries, segments, packed, _ = self.indexed(backend, metric, n_indexed=n_indexed)
        allowed = None if share == 1.0 else np.random.default_rng(1).random(900) < share
        for k in (1, 7):
            if allowed is not None and allowed.sum() < k:
                continue
            rows, scores, _ = backend.search_exactly(
                packed, segments, n_indexed, queries, k, allowed
            )
            expected = self.expected(queries, vectors, k, metric, allowed)
            assert [r.tolist() for r in rows] == [[row for row, _ in e] for e in expected]
            assert [s.tolist() for s in scores] == [[value for _, value in e] for e in expected]

    def test_exact_search_with_ties_and_extreme_vectors(self, backend, metric):
        rng = np.random.default_rng(9)
        vectors = np.repeat(rng.normal(size=(30, 12)), 8, axis=0)
        vectors[:8] = 0.0
        vectors[8:16] *= 1e-25
        if metric == "cosine":
            vectors[16:24] *= 1e15
        vectors = vectors.astype(np.float32)
        queries = np.concatenate([vectors[[100, 9]], rng.normal(size=(3, 12))]).astype(np.float32)
        segments = [Segment(0, vectors)]
        clusters, _ = build(segments, np.arange(240), Settings(metric), backend)
        rows, scores, _ = backend.search_exactly(backend.pack(clusters), segments, 240, queries, 13)
        expected = self.expected(queries, vectors, 13, metric)
        assert [r.tolist() for r in rows] == [[row for row, _ in e] for e in expected]
        assert [s.tolist() for s in scores] == [[value for _, value in e] for e in expected]

    def test_chosen_rows_equal_the_loops(self, backend, metric):
        vectors, queries = data(400, 24, metric)
        vectors[5] = 0.0
        vectors[6] *= 1e-22
        vectors[7] = vectors[8]
        segments = [Segment(0, vectors[:150]), Segment(150, vectors[150:])]
        allowed = np.random.default_rng(2).random(400) < 0.5
        allowed[5:9] = True
        chosen = np.flatnonzero(allowed)
        for k in (1, 9, len(chosen)):
            rows, scores = backend.search_rows(segments, chosen, queries, k, metric)
            expected = self.expected(queries, vectors, k, metric, allowed)
            assert [r.tolist() for r in rows] == [[row for row, _ in e] for e in expected]
            assert [s.tolist() for s in scores] == [[value for _, value in e] for e in expected]

    def test_scores_are_canonical_and_ordered(self, backend, metric):
        vectors, queries, segments, packed, _ = self.indexed(backend, metric)
        rows, scores, _ = backend.search_clusters(
            packed, segments, 900, queries, 10, Probe(20, 40, 1.5)
        )
        for query, found, values in zip(queries, rows, scores, strict=True):
            assert values.tolist() == [
                oracle.score(query.tolist(), vectors[row].tolist(), metric) for row in found
            ]
            order = sorted(zip((-values).tolist(), found.tolist(), strict=True))
            assert [row for _, row in order] == found.tolist()

    def test_more_probes_never_lose_a_row(self, backend, metric):
        """No row at all where the bound holds, and on average none where it is narrow."""
        vectors, queries, segments, packed, clusters = self.indexed(backend, metric, n=2000)
        n_fine = len(clusters.fine)
        truth = [{row for row, _ in e} for e in self.expected(queries, vectors, 5, metric)]
        deeper = [(n, -np.inf) for n in (1, 2, 4, 8, 20, 60, n_fine)]
        lower = [(n_fine, -0.1 * t) for t in range(0, 30, 3)]
        for epsilon in (6.0, 1.0):
            for probes in (deeper, lower):
                before = [0] * len(queries)
                for n_probe, threshold in probes:
                    probe = Probe(n_probe, n_fine, epsilon, threshold)
                    rows, _, _ = backend.search_clusters(packed, segments, 2000, queries, 5, probe)
                    found = [len(t & set(r.tolist())) for t, r in zip(truth, rows, strict=True)]
                    if epsilon == 6.0:
                        assert all(a >= b for a, b in zip(found, before, strict=True))
                    assert sum(found) >= sum(before)
                    before = found
                if epsilon == 6.0:
                    assert sum(before) >= 5 * len(queries) - 1

    def test_a_threshold_leaves_out_the_least_promising(self, backend, metric):
        _, queries, segments, packed, clusters = self.indexed(backend, metric, n=2000)
        n_fine = len(clusters.fine)
        before = set(range(n_fine))
        for threshold in (-np.inf, -1.0, -0.5, 0.0, np.inf):
            probe = Probe(n_fine, n_fine, 2.0, threshold)
            args = (packed, segments, 2000, queries[0], 5, probe)
            probed = backend.probed_clusters(*args).tolist()
            assert backend.probed_clusters(*args, codes_only=True).tolist() == probed
            assert set(probed) <= before
            assert len(set(probed)) == len(probed)
            work = backend.search_clusters(packed, segments, 2000, queries[:1], 5, probe)[2][0]
            assert work[0] == len(probed)
            before = set(probed)
            if threshold == -np.inf:
                assert len(probed) == n_fine
        route, _ = backend.route_clusters(packed, queries[0], probe)
        assert probed == route[: len(probed)].tolist()  # the pilot alone

    def test_codes_alone_find_less_than_vectors(self, backend, metric):
        vectors, queries, segments, packed, clusters = self.indexed(backend, metric, n=2000)
        truth = [{row for row, _ in e} for e in self.expected(queries, vectors, 10, metric)]
        probe = Probe(len(clusters.fine), len(clusters.fine), 2.0)
        recall = []
        for codes_only in (True, False):
            rows, scores, work = backend.search_clusters(
                packed, segments, 2000, queries, 10, probe, codes_only=codes_only
            )
            shares = [len(t & set(r.tolist())) / 10 for t, r in zip(truth, rows, strict=True)]
            recall.append(np.mean(shares))
            assert all(np.isfinite(values).all() for values in scores)
            assert (work[0, 2] == 0) == codes_only
        assert 0.1 < recall[0] <= recall[1]
        assert recall[1] > 0.9

    def test_filters_and_rows_not_indexed_yet(self, backend, metric):
        vectors, queries, segments, packed, clusters = self.indexed(backend, metric, n_indexed=640)
        allowed = np.random.default_rng(3).random(900) < 0.3
        probe = Probe(len(clusters.fine), len(clusters.fine), 1e6)
        rows, _, _ = backend.search_clusters(packed, segments, 640, queries, 10, probe, allowed)
        expected = self.expected(queries, vectors, 10, metric, allowed)
        assert [r.tolist() for r in rows] == [[row for row, _ in e] for e in expected]

    def test_every_backend_finds_the_same(self, backend, metric):
        _, queries, segments, packed, clusters = self.indexed(backend, metric, n=2000)
        reference = get_backend("numpy")
        for codes_only in (False, True):
            for probe in (
                Probe(3, 9, 1.2),
                Probe(12, 20, 2.0),
                Probe(40, 60, 1.5, -0.4),
                Probe(40, 60, 1.5, -0.4, share=0.3),
            ):
                mine = backend.search_clusters(
                    packed, segments, 2000, queries, 10, probe, codes_only=codes_only
                )
                other = reference.search_clusters(
                    clusters, segments, 2000, queries, 10, probe, codes_only=codes_only
                )
                for a, b in zip(mine[0], other[0], strict=True):
                    assert a.tolist() == b.tolist()
                for a, b in zip(mine[1], other[1], strict=True):
                    assert a == pytest.approx(b, rel=1e-5, abs=1e-5)
                assert mine[2].tolist() == other[2].tolist()

    def test_the_index_is_the_same_on_every_backend(self, backend, metric):
        vectors, _ = data(700, 30, metric)
        segments, rows = [Segment(0, vectors)], np.arange(700)
        mine, coarse = build(segments, rows, Settings(metric), backend)
        other, other_coarse = build(segments, rows, Settings(metric), get_backend("numpy"))
        assert coarse.tolist() == other_coarse.tolist()
        for name in ("signs", "order", "center", "coarse", "centroid_slots", "fine", "facts"):
            assert (getattr(mine, name) == getattr(other, name)).all(), name
        assert (mine.centroid_blocks == other.centroid_blocks).all()
        for (blocks, lanes), (other_blocks, other_lanes) in zip(
            mine.cells.arenas, other.cells.arenas, strict=True
        ):
            assert (blocks == other_blocks).all()
            assert (lanes == other_lanes).all()
        assert math.isclose(mine.spread, other.spread)
