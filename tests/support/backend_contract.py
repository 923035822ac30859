"""The contract of a compute backend as tests: each backend subclasses it with a fixture only."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from m2m_rag._types import METRICS

ANY_FLOAT32 = st.floats(-(2.0**50), 2.0**50, width=32) | st.floats(-2, 2, width=32)
COMMON = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,  # one contract, run by each backend's subclass
    ],
)


@pytest.mark.parametrize("metric", METRICS)
class BackendContract:
    """A subclass gives the fixture `backend`, a `ComputeBackend`."""

    def check(self, backend, queries, vectors, k, metric, allowed=None):
        norms2 = backend.squared_norms(vectors)
        rows, scores = backend.top_k(queries, vectors, norms2, k, metric, allowed)
        assert len(rows) == len(scores) == len(queries)
        for query, found, values in zip(queries, rows, scores, strict=True):
            expected = oracle.top_k(query.tolist(), vectors.tolist(), k, metric, allowed)
            assert found.tolist() == [row for row, _ in expected]
            assert values.tolist() == [value for _, value in expected]
            assert found.dtype == np.int64
            assert values.dtype == np.float64

    @pytest.mark.parametrize("n_queries", [1, 3, 4, 9])
    @pytest.mark.parametrize(("n", "d"), [(1, 1), (7, 3), (300, 24), (65, 129)])
    def test_equals_the_loops(self, backend, metric, n, d, n_queries):
        rng = np.random.default_rng(n * 1000 + d)
        vectors = rng.normal(size=(n, d)).astype(np.float32)
        queries = rng.normal(size=(n_queries, d)).astype(np.float32)
        for k in (1, 5, n, n + 3):
            self.check(backend, queries, vectors, k, metric)

    def test_scores_are_canonical(self, backend, metric):
        rng = np.random.default_rng(5)
        vectors = rng.normal(size=(50, 40)).astype(np.float32)
        query = rng.normal(size=40).astype(np.float32)
        scores = backend.scores(query, vectors, backend.squared_norms(vectors), metric)
        assert scores.tolist() == [oracle.score(query, vector, metric) for vector in vectors]

    @pytest.mark.parametrize("n_queries", [1, 6])
    def test_ties_go_to_the_lower_row(self, backend, metric, n_queries):
        rng = np.random.default_rng(1)
        vectors = np.repeat(rng.normal(size=(4, 8)).astype(np.float32), 25, axis=0)
        rng.shuffle(vectors)
        queries = np.concatenate([vectors[:2], rng.normal(size=(n_queries - 1, 8))])
        self.check(backend, queries.astype(np.float32), vectors, 30, metric)

    @pytest.mark.parametrize("n_queries", [1, 5])
    def test_near_ties_are_told_apart(self, backend, metric, n_queries):
        """Scores closer than float32 can hold: only the canonical score orders them."""
        rng = np.random.default_rng(2)
        base = rng.normal(size=64).astype(np.float32)
        vectors = np.tile(base, (200, 1))
        for row in range(200):
            column = rng.integers(64)
            vectors[row, column] = np.nextafter(
                vectors[row, column], np.float32(rng.choice([-9, 9]))
            )
        queries = rng.normal(size=(n_queries, 64)).astype(np.float32)
        self.check(backend, queries, vectors, 20, metric)

    @pytest.mark.parametrize("n_queries", [1, 4])
    @pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
    def test_only_allowed_rows(self, backend, metric, share, n_queries):
        rng = np.random.default_rng(3)
        vectors = rng.normal(size=(400, 10)).astype(np.float32)
        queries = rng.normal(size=(n_queries, 10)).astype(np.float32)
        self.check(backend, queries, vectors, 12, metric, rng.random(400) < share)

    @pytest.mark.parametrize("n_queries", [1, 4])
    def test_zero_and_extreme_norms(self, backend, metric, n_queries):
        rng = np.random.default_rng(4)
        unit = rng.normal(size=(12, 6))
        lengths = [0.0, 1e-44, 1e-38, 1e-30, 1e-20, 1e-18, 1e-3, 1.0, 1e3, 1e9, 1e15, 1e18]
        vectors = (
            unit / np.linalg.norm(unit, axis=1)[:, None] * np.array(lengths)[:, None]
        ).astype(np.float32)
        for scale in (0.0, 1e-40, 1e-19, 1.0, 1e17):
            queries = (rng.normal(size=(n_queries, 6)) * scale).astype(np.float32)
            for k in (1, 4, 12):
                self.check(backend, queries, vectors, k, metric)

    @COMMON
    @given(data=st.data())
    def test_any_float32(self, backend, metric, data):
        n, d, m = (data.draw(st.integers(1, top)) for top in (12, 5, 5))
        vectors = data.draw(arrays(np.float32, (n, d), elements=ANY_FLOAT32))
        queries = data.draw(arrays(np.float32, (m, d), elements=ANY_FLOAT32))
        self.check(backend, queries, vectors, data.draw(st.integers(1, n + 1)), metric)


class ClusterContract:
    """Assignment and sums; a subclass gives the fixture `backend`."""

    @pytest.mark.parametrize(("n", "c", "d"), [(1, 1, 1), (50, 7, 5), (300, 40, 33), (20, 1, 4)])
    def test_assign_equals_the_loops(self, backend, n, c, d):
        rng = np.random.default_rng(n)
        vectors = rng.normal(size=(n, d)).astype(np.float32)
        centroids = rng.normal(size=(c, d)).astype(np.float32)
        labels = backend.assign(vectors, centroids)
        assert labels.tolist() == [oracle.nearest(v, centroids.tolist()) for v in vectors.tolist()]
        distances = backend.squared_distances(vectors, centroids, labels)
        expected = [
            oracle.squared_distance(vector, centroids[label].tolist())
            for vector, label in zip(vectors.tolist(), labels, strict=True)
        ]
        assert distances.tolist() == expected

    def test_ties_go_to_the_lower_centroid(self, backend):
        rng = np.random.default_rng(8)
        centroids = np.repeat(rng.normal(size=(5, 6)).astype(np.float32), 3, axis=0)
        rng.shuffle(centroids)
        vectors = np.concatenate([centroids, np.zeros((2, 6), np.float32)])
        labels = backend.assign(vectors, centroids)
        assert labels.tolist() == [oracle.nearest(v, centroids.tolist()) for v in vectors.tolist()]

    def test_near_ties_are_told_apart(self, backend):
        """Centroids closer to each other than a float32 product can tell."""
        rng = np.random.default_rng(9)
        base = rng.normal(size=48).astype(np.float32)
        centroids = np.tile(base, (60, 1))
        for row in range(60):
            column = rng.integers(48)
            centroids[row, column] = np.nextafter(centroids[row, column], np.float32(9))
        vectors = (base + rng.normal(size=(40, 48)) * 1e-3).astype(np.float32)
        labels = backend.assign(vectors, centroids)
        assert labels.tolist() == [oracle.nearest(v, centroids.tolist()) for v in vectors.tolist()]

    @COMMON
    @given(data=st.data())
    def test_assign_any_float32(self, backend, data):
        n, c, d = (data.draw(st.integers(1, top)) for top in (8, 6, 4))
        vectors = data.draw(arrays(np.float32, (n, d), elements=ANY_FLOAT32))
        centroids = data.draw(arrays(np.float32, (c, d), elements=ANY_FLOAT32))
        labels = backend.assign(vectors, centroids)
        assert labels.tolist() == [oracle.nearest(v, centroids.tolist()) for v in vectors.tolist()]

    def test_sums_add_rows_in_order(self, backend):
        rng = np.random.default_rng(10)
        vectors = rng.normal(size=(500, 9)).astype(np.float32)
        labels = rng.integers(0, 6, size=500)
        sums, sizes = backend.cluster_sums(vectors, labels, 7)
        expected = [[0.0] * 9 for _ in range(7)]
        for vector, label in zip(vectors.tolist(), labels, strict=True):
            expected[label] = [a + b for a, b in zip(expected[label], vector, strict=True)]
        assert sums.tolist() == expected
        assert sizes.tolist() == [int((labels == number).sum()) for number in range(7)]
