"""The index: recall as asked, exact on demand, k results with any filter, answers in stages."""

from __future__ import annotations

import numpy as np
import pytest
from clustered_data import best, clustered, recall

from m2m_rag._types import METRICS, Segment
from m2m_rag.compute import get_backend
from m2m_rag.index import HRM2Index

N, D = 8000, 48
LOOSE = 0.03
"""Recall over 150 queries is known no better."""


@pytest.fixture(scope="module", params=METRICS)
def indexed(request):
    metric = request.param
    vectors = clustered(N + 150, D, seed=1)
    if metric != "cosine":
        vectors *= np.random.default_rng(0).uniform(0.8, 1.25, size=(len(vectors), 1))
    vectors = vectors.astype(np.float32)
    queries, vectors = vectors[N:].copy(), vectors[:N].copy()
    index = HRM2Index(get_backend("numba"), metric)
    segments = [Segment(0, vectors[:5000]), Segment(5000, vectors[5000:])]
    index.build(segments)
    return index, queries, segments, vectors


def truth(queries, vectors, k, metric, allowed=None):
    alive = np.ones(len(vectors), bool) if allowed is None else allowed
    return [best(query, vectors, alive, k, metric) for query in queries]


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95, 0.99])
def test_recall_is_what_was_asked_for(indexed, target):
    index, queries, segments, vectors = indexed
    found, _ = index.search(queries, 10, segments, recall=target)
    reached = recall(found, truth(queries, vectors, 10, index.settings.metric))
    assert reached >= target - LOOSE
    deepest, _ = index.search(queries, 10, segments, recall=0.9999)
    assert recall(deepest, truth(queries, vectors, 10, index.settings.metric)) > 0.98


def test_levels_of_detail(indexed):
    index, queries, segments, vectors = indexed
    expected = truth(queries, vectors, 10, index.settings.metric)
    found = [index.search(queries, 10, segments, lod=lod)[0] for lod in (0, 1, 2)]
    assert [rows.tolist() for rows in found[2]] == [rows.tolist() for rows in expected]
    reached = [recall(rows, expected) for rows in found]
    assert reached == sorted(reached)
    stages = list(index.search_progressive(queries[0], 10, segments))
    assert [stage.lod for stage in stages] == [0, 1, 2]
    assert stages[2].rows.tolist() == expected[0].tolist()
    assert stages[0].latency_s <= stages[1].latency_s <= stages[2].latency_s
    assert stages[0].work.vectors == 0 or index.state.n_indexed < N


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1, 0.01, 0.001])
def test_a_filter_gets_its_k_results(indexed, share):
    index, queries, segments, vectors = indexed
    allowed = np.random.default_rng(5).random(N) < share
    n_allowed = int(allowed.sum())
    found, _ = index.search(queries, 10, segments, allowed)
    assert all(len(rows) == min(10, n_allowed) for rows in found)
    assert all(allowed[rows].all() for rows in found)
    reached = recall(found, truth(queries, vectors, 10, index.settings.metric, allowed))
    assert reached >= 0.95 - LOOSE
    exact, _ = index.search(queries, 10, segments, allowed, lod=2)
    expected = truth(queries, vectors, 10, index.settings.metric, allowed)
    assert [rows.tolist() for rows in exact] == [rows.tolist() for rows in expected]


def test_a_filter_against_the_grain_gets_its_k_results(indexed):
    """Only rows far from the query are allowed, so that many clusters hold none."""
    index, queries, segments, vectors = indexed
    for query in queries[:10]:
        order = best(query, vectors, np.ones(N, bool), N, index.settings.metric)
        allowed = np.zeros(N, bool)
        allowed[order[-2000:]] = True
        found, _ = index.search(query[None], 10, segments, allowed, n_probe=1)
        assert len(found[0]) == 10
        assert allowed[found[0]].all()


def test_large_k_and_no_rows(indexed):
    index, queries, segments, vectors = indexed
    rows, scores = index.search(queries[:2], N + 5, segments)
    assert [len(each) for each in rows] == [N, N]
    assert (np.diff(scores[0]) <= 0).all()
    rows, _ = index.search(queries[:1], 100, segments)
    assert recall(rows, truth(queries[:1], vectors, 100, index.settings.metric)) > 0.8
    none, _ = index.search(queries[:2], 3, segments, np.zeros(N, bool))
    assert [len(each) for each in none] == [0, 0]


def test_a_zero_query_is_answered_exactly(indexed):
    index, _, segments, vectors = indexed
    zero = np.zeros((1, D), np.float32)
    lod = 2 if index.settings.metric == "l2" else 1  # under l2 it is a query like any other
    rows, _ = index.search(zero, 5, segments, lod=lod)
    assert rows[0].tolist() == truth(zero, vectors, 5, index.settings.metric)[0].tolist()


def test_rows_after_the_build_are_found_at_once(indexed):
    index, queries, segments, vectors = indexed
    more = np.concatenate([queries[:7], vectors[:60] + 0.01]).astype(np.float32)
    grown = [*segments, Segment(N, more)]
    for lod in (0, 1, 2):
        rows, _ = index.search(queries[:7], 1, grown, lod=lod)
        if index.settings.metric != "dot":
            assert [each.tolist() for each in rows] == [[N + i] for i in range(7)]


def test_before_the_build_search_is_exact():
    vectors = clustered(200, 8)
    index = HRM2Index(get_backend("numba"), "cosine")
    rows, _ = index.search(vectors[:3], 4, [Segment(0, vectors)])
    assert [r.tolist() for r in rows] == [
        r.tolist() for r in truth(vectors[:3], vectors, 4, "cosine")
    ]
    assert index.stats() == {"kind": "flat"}


def test_memory_is_within_its_bound():
    """At most d / 8 + 24 bytes a row, the vectors not counted."""
    vectors = clustered(40_000, 384, seed=2)
    index = HRM2Index(get_backend("numba"), "cosine")
    index.build([Segment(0, vectors)])
    per_row = index.stats()["bytes"] / len(vectors)
    assert 384 / 8 < per_row <= 384 / 8 + 24 + 8, "8 more: centroids weigh more on few rows"


@pytest.mark.parametrize("kind", ["same", "few", "zero"])
def test_degenerate_data(kind):
    backend = get_backend("numba")
    rng = np.random.default_rng(0)
    vectors = {
        "same": np.ones((600, 16)),
        "few": np.repeat(rng.normal(size=(3, 16)), 200, axis=0),
        "zero": np.concatenate([np.zeros((300, 16)), rng.normal(size=(300, 16))]),
    }[kind].astype(np.float32)
    segments = [Segment(0, vectors)]
    for metric in METRICS:
        index = HRM2Index(backend, metric)
        index.build(segments)
        query = vectors[-1:] + np.float32(0.01)
        rows, _ = index.search(query, 20, segments, lod=2)
        assert rows[0].tolist() == best(query[0], vectors, np.ones(600, bool), 20, metric).tolist()
        rows, scores = index.search(query, 20, segments)
        assert len(set(rows[0].tolist())) == 20
        assert np.isfinite(scores[0]).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("exponent", [-140, -70, 55])
def test_tiny_and_huge_vectors_are_answered(metric, exponent):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1500, 16)).astype(np.float32)
    vectors[:700] *= np.float32(2.0) ** np.float32(exponent)
    segments = [Segment(0, vectors)]
    index = HRM2Index(get_backend("numba"), metric)
    index.build(segments)
    queries = vectors[690:710] * np.float32(1.01)
    for lod in (0, 1):
        rows, scores = index.search(queries, 10, segments, lod=lod)
        assert all(len(set(each.tolist())) == 10 for each in rows)
        assert all(np.isfinite(each).all() for each in scores)
    rows, _ = index.search(queries, 10, segments, lod=2)
    flat, _ = index.flat.search(queries, 10, segments)
    assert [a.tolist() for a in rows] == [b.tolist() for b in flat]


def test_long_queries_are_logged_as_they_are():
    vectors = 1e5 * clustered(1024, 32)
    segments = [Segment(0, vectors)]
    index = HRM2Index(get_backend("numba"), "dot")
    index.build(segments)
    for query in vectors[:140]:
        index.search(query[None], 10, segments)
    assert index.extend(segments)
    assert index.stats()["measured_on"] == "queries"
    assert index.stats()["estimated_recall"] > 0.9
