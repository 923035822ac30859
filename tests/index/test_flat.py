"""The flat index over several segments equals the loops over all rows."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from m2m_rag._types import METRICS, Segment
from m2m_rag.compute import get_backend
from m2m_rag.index import FlatIndex


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("cuts", [[0], [0, 30], [0, 1, 50, 99]])
def test_segments_merge_to_the_exact_answer(metric, cuts):
    rng = np.random.default_rng(7)
    vectors = np.repeat(rng.normal(size=(50, 6)), 2, axis=0).astype(np.float32)
    rng.shuffle(vectors)
    queries = rng.normal(size=(3, 6)).astype(np.float32)
    ends = [*cuts[1:], len(vectors)]
    segments = [Segment(a, vectors[a:b].copy()) for a, b in zip(cuts, ends, strict=True)]
    allowed = rng.random(100) < 0.6
    index = FlatIndex(get_backend("numba"), metric)
    for mask in (None, allowed):
        rows, scores = index.search(queries, 15, segments, mask)
        for query, found, values in zip(queries, rows, scores, strict=True):
            expected = oracle.top_k(query, vectors, 15, metric, mask)
            assert list(zip(found.tolist(), values.tolist(), strict=True)) == expected


def test_a_grown_segment_is_searched_to_its_end():
    index = FlatIndex(get_backend("numpy"), "l2")
    vectors = np.arange(10, dtype=np.float32)[:, None]
    query = np.array([[9.0]], dtype=np.float32)
    assert index.search(query, 1, [Segment(0, vectors[:4])])[0][0].tolist() == [3]
    assert index.search(query, 1, [Segment(0, vectors)])[0][0].tolist() == [9]
    assert index.search(query, 1, [Segment(0, vectors[:6])])[0][0].tolist() == [5]
