"""Codes in blocks: every code is where the layout says, and the scan estimates what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag.compute import get_backend
from m2m_rag.quantization import Rotation, encode, estimate, quantize_query
from m2m_rag.quantization.blocks import to_blocks


def coded(n, d):
    rng = np.random.default_rng(n)
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    centroid = vectors.mean(axis=0, keepdims=True)
    rotation = Rotation.random(d, seed=3)
    codes = encode(vectors, centroid, np.zeros(n, dtype=np.int64), rotation)
    return vectors, centroid, rotation, codes


@pytest.mark.parametrize("n", [1, 8, 21])
def test_codes_are_where_the_layout_says(n):
    _, _, _, codes = coded(n, 130)
    blocks = to_blocks(codes)
    assert blocks.words.shape == (-(-n // 8), 3, 8)
    for row in range(n):
        assert (blocks.words[row // 8, :, row % 8] == codes.words[row]).all()
    assert (blocks.scale[:n] == codes.scale).all()
    assert (blocks.error[:n] == codes.error).all()
    assert (blocks.offset[n:] == -np.inf).all()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_scan_gives_the_estimates(backend):
    vectors, centroid, rotation, codes = coded(100, 200)
    blocks = to_blocks(codes)
    query = vectors[0] + 0.1
    planes = quantize_query(rotation.apply(query[None])[0])
    base = float(centroid[0] @ query)
    found = get_backend(backend).scan_codes(
        blocks.words, planes.planes, blocks.scale, blocks.offset, planes.step, base
    )
    expected = estimate(codes, planes, np.full(100, base))
    assert found[:100] == pytest.approx(expected, abs=2e-6)
    assert (found[100:] == -np.inf).all()
