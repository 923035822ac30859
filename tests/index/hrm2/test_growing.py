"""Growing the index: 10,000 mixed operations against a dictionary and brute force; its rules."""

from __future__ import annotations

import numpy as np
import pytest
from clustered_data import best, clustered, recall
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from m2m_rag._types import Segment
from m2m_rag.compute import get_backend
from m2m_rag.compute.clustered import LANES
from m2m_rag.index import HRM2Index
from m2m_rag.index.hrm2.growing import GROUP

D = 32
BAR, ENOUGH = 0.92, 50
"""Recall at the default target of 0.95, over at least so many times four queries."""


class Stored:
    """Rows as the store keeps them: appended, never changed, dying in place."""

    def __init__(self, d=D):
        self.vectors = np.empty((0, d), np.float32)
        self.alive = np.empty(0, bool)

    def add(self, vectors):
        self.vectors = np.concatenate([self.vectors, vectors])
        self.alive = np.concatenate([self.alive, np.ones(len(vectors), bool)])

    @property
    def segments(self):
        half = len(self.vectors) // 2 or 1
        parts = [Segment(0, self.vectors[:half]), Segment(half, self.vectors[half:])]
        return [part for part in parts if len(part.vectors)]


def rows_in(index):
    clusters = index.state.clusters
    return np.sort(
        np.concatenate([clusters.cells.rows(c)[:n] for c, n in enumerate(clusters.sizes.tolist())])
    )


def check_whole(index, stored):
    """Each row below `n_indexed` stands in one lane, but for dead ones; sizes fit their place."""
    state = index.state
    rows = rows_in(index)
    assert (np.diff(rows) > 0).all()
    assert rows.min(initial=0) >= 0
    missing = np.setdiff1d(np.arange(state.n_indexed), rows)
    assert not stored.alive[missing].any()
    clusters = state.clusters
    assert (clusters.sizes <= LANES * clusters.cells.capacity).all()
    slots = clusters.centroid_slots
    assert np.sort(slots[slots >= 0]).tolist() == list(range(len(clusters.fine)))
    assert (np.diff(state.coarse_of) >= 0).all()


class Mixed(RuleBasedStateMachine):
    """25 examples of 400 operations: inserts, deletes, updates, growth and searches."""

    @initialize(seed=st.integers(0, 2**16), metric=st.sampled_from(["cosine", "dot", "l2"]))
    def begin(self, seed, metric):
        self.rng = np.random.default_rng(seed)
        self.pool = clustered(3000, D, seed=seed % 4)
        self.stored = Stored()
        self.metric = metric
        self.reached = []
        self.index = HRM2Index(get_backend("numba"), metric, n_fine=24)
        self.put(600)
        self.index.build(self.stored.segments, self.stored.alive)

    def put(self, n):
        chosen = self.pool[self.rng.integers(len(self.pool), size=n)]
        noise = 0.05 * self.rng.normal(size=chosen.shape)
        self.stored.add((chosen + noise).astype(np.float32))

    @rule(n=st.integers(1, 50))
    def insert(self, n):
        self.put(n)

    @rule(n=st.integers(1, 50))
    def delete(self, n):
        alive = np.flatnonzero(self.stored.alive)
        if len(alive) > 300:
            gone = self.rng.choice(alive, min(n, len(alive) - 300), replace=False)
            self.stored.alive[gone] = False

    @rule(n=st.integers(1, 40))
    def update(self, n):
        alive = np.flatnonzero(self.stored.alive)
        self.stored.alive[self.rng.choice(alive, n, replace=False)] = False
        self.put(n)

    @rule()
    def extend(self):
        self.index.extend(self.stored.segments, self.stored.alive)
        check_whole(self.index, self.stored)

    @rule(k=st.integers(1, 30))
    def search_exactly(self, k):
        query = self.pool[self.rng.integers(len(self.pool))]
        expected = best(query, self.stored.vectors, self.stored.alive, k, self.metric)
        found, _ = self.index.search(query[None], k, self.stored.segments, self.stored.alive, lod=2)
        assert found[0].tolist() == expected.tolist()

    @invariant()
    def answers_are_alive_and_many(self):
        queries = self.pool[self.rng.integers(len(self.pool), size=4)]
        stored = self.stored
        found, _ = self.index.search(queries, 10, stored.segments, stored.alive)
        assert all(len(set(rows.tolist())) == 10 for rows in found)
        assert all(stored.alive[rows].all() for rows in found)
        truth = [best(q, stored.vectors, stored.alive, 10, self.metric) for q in queries]
        self.reached.append(recall(found, truth))

    def teardown(self):
        if len(self.reached) >= ENOUGH:
            assert np.mean(self.reached) >= BAR


Mixed.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=400,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking an example of a hundred operations takes minutes
)
TestMixed = Mixed.TestCase


@pytest.fixture
def stored():
    made = Stored(48)
    made.add(clustered(12_100, 48, seed=3)[:4096])
    return made


def build(stored, n_fine=None):
    index = HRM2Index(get_backend("numba"), "cosine", n_fine=n_fine)
    index.build(stored.segments, stored.alive)
    return index


def same(one, other):
    a, b = one.state, other.state
    assert a.n_indexed == b.n_indexed
    assert a.coarse_of.tolist() == b.coarse_of.tolist()
    for name in ("fine", "facts", "sizes", "centroid_slots", "centroid_blocks", "coarse"):
        assert (getattr(a.clusters, name) == getattr(b.clusters, name)).all(), name
    for number, size in enumerate(a.clusters.sizes.tolist()):
        for part in ("rows", "codes"):
            n = size if part == "rows" else size // LANES
            first = getattr(a.clusters.cells, part)(number)[:n]
            second = getattr(b.clusters.cells, part)(number)[:n]
            assert (first == second).all()


def test_batches_do_not_matter(stored):
    """The same rows in other batches give the same index."""
    one, other = build(stored), build(stored)
    more = clustered(3000, 48, seed=9)
    whole = Stored(48)
    whole.add(stored.vectors)
    whole.add(more)
    one.extend(whole.segments, whole.alive)
    rng = np.random.default_rng(0)
    start = 0
    while start < len(more):
        step = int(rng.integers(1, 400))
        stored.add(more[start : start + step])
        other.extend(stored.segments, stored.alive)
        start += step
    same(one, other)


def test_full_clusters_split_and_recall_stays(stored):
    index = build(stored)
    n_fine = len(index.state.clusters.fine)
    more = clustered(12_100, 48, seed=3)[4096:]
    stored.add(more[:7904])
    index.extend(stored.segments, stored.alive)
    check_whole(index, stored)
    assert len(index.state.clusters.fine) > n_fine
    assert (index.state.clusters.sizes <= index.state.limits).all()
    queries = more[7904:]
    truth = [best(q, stored.vectors, stored.alive, 10, "cosine") for q in queries]
    found, _ = index.search(queries, 10, stored.segments, stored.alive)
    assert recall(found, truth) >= BAR


def test_rows_that_are_all_the_same_do_not_split(stored):
    index = build(stored)
    stored.add(np.repeat(stored.vectors[:1], 1024, axis=0))
    index.extend(stored.segments, stored.alive)
    check_whole(index, stored)
    rows, _ = index.search(stored.vectors[:1], 30, stored.segments, stored.alive, lod=2)
    assert rows[0].tolist() == [0, *range(4096, 4125)]


def test_recall_after_ten_times_churn():
    """Ten times as many rows come and go as are alive; the bar holds and memory does not grow."""
    stored = Stored(48)
    pool = clustered(6000, 48, seed=5)
    rng = np.random.default_rng(1)
    stored.add(pool[rng.integers(len(pool), size=2000)])
    index = build(stored)
    n_bytes = index.state.n_bytes
    for _ in range(40):
        alive = np.flatnonzero(stored.alive)
        stored.alive[rng.choice(alive, 500, replace=False)] = False
        fresh = pool[rng.integers(len(pool), size=500)]
        stored.add((fresh + 0.02 * rng.normal(size=fresh.shape)).astype(np.float32))
        index.extend(stored.segments, stored.alive)
    check_whole(index, stored)
    assert len(rows_in(index)) < 2500 + GROUP
    assert index.state.n_bytes < 2 * n_bytes
    queries = pool[rng.integers(len(pool), size=100)]
    truth = [best(q, stored.vectors, stored.alive, 10, "cosine") for q in queries]
    found, _ = index.search(queries, 10, stored.segments, stored.alive)
    assert recall(found, truth) >= BAR


def test_older_states_answer_while_the_index_grows(stored):
    """A search that began before rows came answers as it would have."""
    index = build(stored)
    state, segments, alive = index.state, stored.segments, stored.alive
    queries = clustered(4200, 48, seed=3)[4096:]
    before = index.search(queries, 10, segments, alive, state=state)[0]
    stored.add(clustered(12_000, 48, seed=3)[4096:])
    index.extend(stored.segments, stored.alive)
    after = index.search(queries, 10, segments, alive, state=state)[0]
    assert [a.tolist() for a in before] == [b.tolist() for b in after]
    exact = index.search(queries[:5], 10, segments, alive, state=state, lod=2)[0]
    truth = [best(q, segments[0].vectors, alive[:2048], 10, "cosine") for q in queries[:5]]
    assert len(exact) == len(truth)
