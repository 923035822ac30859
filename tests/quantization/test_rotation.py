"""The fast rotation is orthogonal, seeded, and mixes every coordinate into every other."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag.compute import get_backend
from m2m_rag.quantization import Rotation

BACKEND = get_backend("numpy")
DIMENSIONS = [1, 3, 64, 65, 100, 128, 384, 768, 832]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_lengths_and_inner_products_are_kept(d):
    rotation = Rotation.random(d, seed=1)
    assert rotation.padded % 64 == 0
    assert 0 <= rotation.padded - d < 64
    vectors = np.random.default_rng(0).normal(size=(20, d)).astype(np.float32)
    rotated = rotation.apply(vectors, BACKEND)
    assert rotated.shape == (20, rotation.padded)
    assert rotated.dtype == np.float32
    assert rotated @ rotated.T == pytest.approx(vectors @ vectors.T, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("d", [64, 100, 192, 384, 768, 832, 1024])
def test_a_single_coordinate_is_spread_over_all(d):
    """Signs of a rotated basis vector carry information only if no coordinate dominates."""
    rotation = Rotation.random(d, seed=2)
    rotated = rotation.apply(np.eye(d, dtype=np.float32), BACKEND)
    assert np.abs(rotated).max() < 8 / np.sqrt(rotation.padded)
    assert (np.abs(rotated) > 0.05 / np.sqrt(rotation.padded)).mean() > 0.7


def test_a_seed_gives_a_rotation():
    vectors = np.random.default_rng(0).normal(size=(3, 70)).astype(np.float32)
    one, same, other = (Rotation.random(70, seed).apply(vectors, BACKEND) for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
