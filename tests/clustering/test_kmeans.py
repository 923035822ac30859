"""K-means: quality against scikit-learn, one result on every backend, empty clusters repaired."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import sklearn.cluster

from m2m_rag.clustering import KMeans
from m2m_rag.clustering.seeding import kmeans_plusplus
from m2m_rag.compute import get_backend
from m2m_rag.errors import InvalidInputError

NUMBA = get_backend("numba")
INERTIA_MARGIN = 1.01
"""FEATURES.md B1: inertia at most scikit-learn's + 1 %."""


def blobs(n, d, n_centres, seed, spread=0.7):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_centres, d))
    return (centres[rng.integers(n_centres, size=n)] + spread * rng.normal(size=(n, d))).astype(
        np.float32
    )


@pytest.mark.parametrize(("n", "d", "k"), [(3000, 16, 12), (4000, 48, 60), (20_000, 24, 20)])
def test_inertia_is_scikit_learns_or_better(n, d, k):
    vectors = blobs(n, d, 30, seed=n)
    seeds = range(8)
    ours = np.mean([KMeans(k, NUMBA, random_state=s).fit(vectors).inertia_ for s in seeds])
    other = [sklearn.cluster.KMeans(k, n_init=1, random_state=s).fit(vectors) for s in seeds]
    theirs = np.mean([fitted.inertia_ for fitted in other])
    assert ours <= INERTIA_MARGIN * theirs


def test_what_fit_says_is_true():
    vectors = blobs(800, 6, 5, seed=1)
    fitted = KMeans(9, NUMBA).fit(vectors)
    centroids = fitted.centroids_.tolist()
    assert fitted.labels_.tolist() == [oracle.nearest(v, centroids) for v in vectors.tolist()]
    assert (fitted.predict(vectors) == fitted.labels_).all()
    by_loops = sum(
        oracle.squared_distance(v, centroids[label])
        for v, label in zip(vectors.tolist(), fitted.labels_, strict=True)
    )
    assert fitted.inertia_ == pytest.approx(by_loops, rel=1e-12)
    assert set(fitted.labels_) == set(range(9))


def test_one_seed_gives_one_clustering_on_every_backend():
    vectors = blobs(600, 8, 6, seed=2)
    for spherical in (False, True):
        fits = [
            KMeans(14, get_backend(name), random_state=5, spherical=spherical).fit(vectors)
            for name in ("numpy", "numba", "numba")
        ]
        for other in fits[1:]:
            assert (other.labels_ == fits[0].labels_).all()
            assert (other.centroids_ == fits[0].centroids_).all()
    other_seed = KMeans(14, NUMBA, random_state=6).fit(vectors)
    assert (other_seed.centroids_ != fits[1].centroids_).any()


def test_spherical_centroids_have_unit_length():
    vectors = blobs(500, 10, 4, seed=3)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fitted = KMeans(8, NUMBA, spherical=True).fit(vectors)
    assert np.linalg.norm(fitted.centroids_, axis=1) == pytest.approx(np.ones(8), abs=1e-6)


def test_empty_clusters_are_filled():
    vectors = np.repeat(blobs(10, 4, 10, seed=4), 50, axis=0)
    fitted = KMeans(10, NUMBA).fit(vectors)
    assert np.bincount(fitted.labels_, minlength=10).tolist() == [50] * 10
    assert fitted.inertia_ == pytest.approx(0.0, abs=1e-9)


def test_fewer_different_rows_than_clusters():
    fitted = KMeans(5, NUMBA).fit(np.ones((20, 3)))
    assert fitted.inertia_ == 0.0
    assert set(fitted.labels_) == {0}


def test_seeds_are_rows_and_spread_out():
    vectors = np.repeat(np.eye(6, dtype=np.float32) * 10, 30, axis=0)
    seeds = kmeans_plusplus(vectors, 6, np.random.default_rng(0))
    assert sorted(seeds.argmax(axis=1).tolist()) == list(range(6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_clusters": 0}, "n_clusters: expected at least 1"),
        ({"n_clusters": 2, "max_iter": 0}, "max_iter: expected at least 1"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        KMeans(backend=NUMBA, **arguments)


def test_too_few_rows_are_refused():
    with pytest.raises(InvalidInputError, match="at least 5 rows"):
        KMeans(5, NUMBA).fit(np.ones((4, 2)))
