"""Two levels of clusters: the plan of their numbers, and rows where they belong."""

from __future__ import annotations

import numpy as np
import oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m_rag.clustering.hierarchy import build_hierarchy, fine_counts
from m2m_rag.compute import get_backend

NUMBA = get_backend("numba")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(0, 500), min_size=1, max_size=30), n_fine=st.integers(1, 400))
def test_the_plan_keeps_its_bounds(sizes, n_fine):
    counts = fine_counts(sizes, n_fine)
    for size, count in zip(sizes, counts, strict=True):
        assert count == 0 if size == 0 else 1 <= count <= max(1, size // 5)
    assert sum(counts) <= n_fine + 1.5 * len(sizes)


def rows(n=3000, d=12, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(40, d))
    vectors = centres[rng.integers(40, size=n)] + 0.3 * rng.normal(size=(n, d))
    return vectors.astype(np.float32)


def test_every_row_is_in_the_nearest_fine_cluster_of_the_nearest_coarse_one():
    vectors = rows()
    tree = build_hierarchy(vectors, NUMBA, n_coarse=9, n_fine=80)
    assert abs(len(tree.fine) - 80) <= 9
    assert tree.first_fine[0] == 0
    assert tree.first_fine[-1] == len(tree.fine)
    for vector, label in zip(vectors[:300].tolist(), tree.labels, strict=False):
        coarse = oracle.nearest(vector, tree.coarse.tolist())
        start, stop = tree.first_fine[coarse], tree.first_fine[coarse + 1]
        assert label == start + oracle.nearest(vector, tree.fine[start:stop].tolist())


def test_the_default_is_four_roots():
    tree = build_hierarchy(rows(2500), NUMBA, n_coarse=6)
    assert abs(len(tree.fine) - 200) <= 6


def test_one_seed_gives_one_tree_on_every_backend():
    vectors = rows(500)
    trees = [
        build_hierarchy(vectors, get_backend(name), n_coarse=4, n_fine=20, spherical=True)
        for name in ("numpy", "numba")
    ]
    for one, other in zip(*trees, strict=True):
        assert (one == other).all()


def test_as_many_clusters_as_rows_and_equal_rows():
    tree = build_hierarchy(np.ones((6, 3), np.float32), NUMBA, n_coarse=6, n_fine=6)
    assert len(set(tree.labels.tolist())) == 1
    tree = build_hierarchy(np.eye(6, dtype=np.float32), NUMBA, n_coarse=6, n_fine=6)
    assert sorted(tree.labels.tolist()) == list(range(6))
