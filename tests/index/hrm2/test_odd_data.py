"""Data and questions at the edges: zero vectors, tight clusters, few results, many."""

from __future__ import annotations

import numpy as np
import pytest
from clustered_data import best, clustered, recall

from m2m_rag._types import METRICS, Segment
from m2m_rag.compute import get_backend
from m2m_rag.compute.clustered import Probe
from m2m_rag.index import HRM2Index


def built(vectors, metric):
    index = HRM2Index(get_backend("numba"), metric)
    segments = [Segment(0, np.ascontiguousarray(vectors, dtype=np.float32))]
    index.build(segments)
    return index, segments


def truth(queries, vectors, k, metric):
    return [best(query, vectors, np.ones(len(vectors), bool), k, metric) for query in queries]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_zero", [6000, 5999])
def test_zero_vectors_are_indexed(metric, n_zero):
    vectors = np.zeros((6000, 16), np.float32)
    vectors[n_zero:] = 1.0
    index, segments = built(vectors, metric)
    assert index.stats()["estimated_recall"] >= 0.95
    rows, _ = index.search(np.ones((1, 16), np.float32), 5, segments, lod=2)
    assert rows[0].tolist() == truth(np.ones((1, 16)), vectors, 5, metric)[0].tolist()


def test_zero_queries_say_nothing_about_recall():
    vectors = clustered(6000, 16, seed=0)
    index, segments = built(vectors, "cosine")
    for _ in range(300):
        index.search(np.zeros((1, 16), np.float32), 5, segments)
    assert index.log.n_seen == 0
    assert not index.extend(segments)


@pytest.mark.parametrize("metric", METRICS)
def test_clusters_that_are_small_for_their_distance(metric):
    """The query's own quantisation decides there, not the codes' error."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(30, 64)) * 30.0
    vectors = (centres[rng.integers(30, size=6000)] + rng.normal(size=(6000, 64))).astype(
        np.float32
    )
    queries = vectors[:100] + rng.normal(size=(100, 64)).astype(np.float32)
    index, segments = built(vectors, metric)
    n_fine = len(index.state.clusters.fine)
    found, _, work = get_backend("numba").search_clusters(
        index.state.packed, segments, len(vectors), queries, 10, Probe(n_fine, n_fine, 2.4)
    )
    assert recall(found, truth(queries, vectors, 10, metric)) > 0.97
    assert work[:, 2].mean() < len(vectors) / 2


def test_a_filter_far_from_the_query_is_answered_as_well():
    """Also when recall was measured on queries that find all they want in few clusters."""
    vectors = clustered(12_000, 48, seed=7)
    is_far = vectors[:, 0] < 0.0
    near = vectors[~is_far]
    queries = near[:300] + 0.02 * np.random.default_rng(1).normal(size=(300, 48))
    queries = queries.astype(np.float32)
    index, segments = built(vectors, "cosine")
    for query in queries[:200]:
        index.search(query[None], 10, segments)
    assert index.extend(segments)
    assert index.stats()["measured_on"] == "queries"
    asked = queries[200:]
    found, _ = index.search(asked, 10, segments, is_far)
    wanted = [best(query, vectors, is_far, 10, "cosine") for query in asked]
    assert recall(found, wanted) >= 0.95


@pytest.mark.parametrize("target", [0.9, 0.98])
def test_few_results_reach_the_target_too(target):
    vectors = clustered(20_500, 48, seed=3)
    queries, vectors = vectors[20_000:], vectors[:20_000]
    index, segments = built(vectors, "cosine")
    for k in (1, 2, 5):
        found, scores = index.search(queries, k, segments, recall=target)
        assert all(
            len(rows) == len(values) == k for rows, values in zip(found, scores, strict=True)
        )
        assert recall(found, truth(queries, vectors, k, "cosine")) >= target - 0.02


def test_estimates_of_cosines_are_cosines():
    vectors = clustered(6000, 24, seed=4)
    index, segments = built(vectors, "cosine")
    _, scores = index.search(vectors[:300], 10, segments, lod=0)
    assert all((np.abs(values) <= 1.0).all() for values in scores)


def test_an_explanation_lists_what_was_probed():
    vectors = clustered(6100, 24, seed=5)
    index, segments = built(vectors[:6000], "l2")
    far = np.linalg.norm(vectors[:6000] - vectors[6000], axis=1)
    allowed = far >= np.sort(far)[-200]  # hardly any near the query
    for k, how in ((3, {}), (10, {}), (10, {"n_probe": 1}), (10, {"recall": 0.8})):
        told = index.explain(vectors[6000], k, segments, allowed, **how)
        _, _, work, route = index.answer(vectors[6000:6001], k, segments, allowed, **how)
        assert list(told.work) == work[0].tolist()
        assert told.way == route.kind
        assert told.way != "probe" or len(told.clusters) <= told.work.clusters
        everywhere = index.explain(vectors[6000], k, segments, **how)
        assert len(everywhere.clusters) == everywhere.work.clusters
