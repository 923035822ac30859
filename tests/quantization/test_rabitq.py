"""RaBitQ: the estimate is unbiased, its bound holds as often as promised, under either split."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag.compute import get_backend
from m2m_rag.quantization import Rotation, code, to_int8

COVERAGE = 0.94
"""How often the bound with epsilon = 1.9 holds: errors are nearly Gaussian, which gives 0.943."""
EPSILON = 1.9
BACKEND = get_backend("numpy")


def clustered(n, d, n_centroids, seed):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(n_centroids, d))
    labels = rng.integers(n_centroids, size=n)
    vectors = centroids[labels] + 0.8 * rng.normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    queries = rng.normal(size=(40, d))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    rotation = Rotation.random(d, seed=1)
    return (
        *(rotation.apply(a.astype(np.float32), BACKEND) for a in (vectors, centroids, queries)),
        labels,
    )


def signs_of(codes, padded):
    bits = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little")[:, :padded]
    return 2.0 * bits - 1.0


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("d", [64, 200, 384])
def test_bound_and_bias(d, metric):
    vectors, centroids, queries, labels = clustered(2000, d, 8, seed=d)
    codes, offset = code(vectors, centroids, labels, metric, BACKEND)
    signs = signs_of(codes, vectors.shape[1])
    norm2 = (centroids.astype(np.float64) ** 2).sum(axis=1)
    inside, errors, sizes = [], [], []
    for query in queries.astype(np.float64):
        base = centroids @ query
        turned = codes.scale * (signs @ query)
        truth = vectors.astype(np.float64) @ query
        if metric == "l2":
            truth -= (vectors.astype(np.float64) ** 2).sum(axis=1) / 2
            guess = base[labels] + offset + turned
            reach = np.linalg.norm(query - centroids, axis=1)[labels]
        else:
            guess = base[labels] * offset + turned
            reach = np.linalg.norm(query - (base / norm2)[:, None] * centroids, axis=1)[labels]
        bound = EPSILON * reach * codes.scale * np.sqrt(1 - codes.share)
        inside.append(np.abs(guess - truth) <= bound)
        errors.append(guess - truth)
        sizes.append(bound)
    assert np.mean(inside) >= COVERAGE
    standard_error = np.std(errors) / np.sqrt(np.size(errors))
    assert abs(np.mean(errors)) < 6 * standard_error + 1e-4
    assert np.mean(sizes) < 0.5, "a bound as wide as the scores would say nothing"


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_vector_on_its_centroid_is_exact(metric):
    centroids = np.eye(3, 128, dtype=np.float32)
    codes, offset = code(centroids, centroids, np.arange(3), metric, BACKEND)
    assert codes.scale.tolist() == [0, 0, 0]
    assert offset.tolist() == ([-0.5] * 3 if metric == "l2" else [1.0] * 3)


def test_a_zero_centroid_takes_nothing_off():
    vectors = np.ones((2, 64), dtype=np.float32)
    codes, offset = code(vectors, np.zeros((1, 64), np.float32), np.zeros(2, int), "dot", BACKEND)
    assert np.isfinite(offset).all()
    assert codes.scale.tolist() == [1.0, 1.0]


def test_levels():
    vectors = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    vectors[3] = 0.0
    levels, scale = to_int8(vectors)
    assert levels.dtype == np.int8
    assert np.abs(levels * scale[:, None] - vectors).max() <= scale.max() / 2 + 1e-6
    assert (levels[3] == 0).all()
