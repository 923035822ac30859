"""RaBitQ: the estimate is unbiased, its bound holds as often as promised, codes are signs."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag.quantization import Rotation, encode, estimate, quantize_query
from m2m_rag.quantization.rabitq import EPSILON, pack_bits

COVERAGE = 0.95
"""How often the bound with epsilon_0 = 1.9 holds at least (Gao & Long 2024, section 5.2.4)."""


def clustered(n, d, n_centroids, seed):
    rng = np.random.default_rng(seed)
    centroids = rng.normal(size=(n_centroids, d))
    labels = rng.integers(n_centroids, size=n)
    vectors = centroids[labels] + 0.8 * rng.normal(size=(n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    queries = rng.normal(size=(40, d))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return (*(a.astype(np.float32) for a in (vectors, centroids, queries)), labels)


def test_the_bits_are_the_signs_of_the_rotated_residual():
    vectors, centroids, _, labels = clustered(30, 100, 3, seed=0)
    rotation = Rotation.random(100, seed=5)
    codes = encode(vectors, centroids, labels, rotation)
    rotated = rotation.apply(vectors - centroids[labels])
    for word in range(2):
        for bit in range(64):
            is_set = (codes.words[:, word] >> np.uint64(bit)) & np.uint64(1)
            assert (is_set == (rotated[:, 64 * word + bit] >= 0)).all()


@pytest.mark.parametrize("d", [64, 200, 384])
def test_bound_and_bias(d):
    vectors, centroids, queries, labels = clustered(2000, d, 8, seed=d)
    rotation = Rotation.random(d, seed=1)
    codes = encode(vectors, centroids, labels, rotation)
    inside, errors, sizes = [], [], []
    for query in queries:
        planes = quantize_query(rotation.apply(query[None])[0])
        guess = estimate(codes, planes, (centroids @ query)[labels].astype(np.float64))
        truth = vectors.astype(np.float64) @ query
        reach = np.linalg.norm(query - centroids, axis=1)[labels]
        quantised = planes.step * np.sqrt(rotation.padded / 3.0) * codes.scale
        bound = EPSILON * (codes.error * reach + quantised)
        inside.append(np.abs(guess - truth) <= bound)
        errors.append(guess - truth)
        sizes.append(bound)
    assert np.mean(inside) >= COVERAGE
    standard_error = np.std(errors) / np.sqrt(np.size(errors))
    assert abs(np.mean(errors)) < 6 * standard_error + 1e-4
    assert np.mean(sizes) < 0.5, "a bound as wide as the scores would say nothing"


def test_a_vector_on_its_centroid_is_exact():
    centroids = np.eye(3, 70, dtype=np.float32)
    rotation = Rotation.random(70, seed=0)
    codes = encode(centroids, centroids, np.arange(3), rotation)
    assert codes.scale.tolist() == codes.offset.tolist() == codes.error.tolist() == [0, 0, 0]
    query = np.full(70, 0.1, dtype=np.float32)
    planes = quantize_query(rotation.apply(query[None])[0])
    inner = centroids.astype(np.float64) @ query
    assert (estimate(codes, planes, inner) == inner).all()


def test_query_levels():
    rotated = np.linspace(-1, 1, 128).astype(np.float32)
    planes, step = quantize_query(rotated)
    bits = [np.unpackbits(p.view(np.uint8), bitorder="little").astype(float) for p in planes]
    values = step * sum(2.0**p * (2 * plane - 1) for p, plane in enumerate(bits))
    assert np.abs(values - rotated).max() <= step * 1.0001
    assert set(np.round(values / step).astype(int)) == set(range(-15, 16, 2))
    assert quantize_query(np.zeros(64, np.float32)).step == 0.0


def test_packing():
    bits = np.zeros((2, 128), dtype=bool)
    bits[0, 0] = bits[1, 127] = bits[1, 64] = True
    assert pack_bits(bits).tolist() == [[1, 0], [0, 1 | 1 << 63]]
