"""Fusion of two rankings against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import fused

from m2m_rag import Fusion
from m2m_rag.errors import InvalidInputError
from m2m_rag.index.fusion import fuse

RANKINGS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(-5, 5)), unique_by=lambda pair: pair[0], max_size=20
).map(lambda pairs: sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def arrays(ranking):
    rows = np.array([row for row, _ in ranking], dtype=np.int64)
    return rows, np.array([score for _, score in ranking], dtype=np.float64)


@given(RANKINGS, RANKINGS, st.integers(1, 40), st.floats(0, 1), st.sampled_from(["rrf", "alpha"]))
def test_it_equals_the_loops(first, second, k, alpha, method):
    fusion = Fusion(method, alpha=alpha)
    rows, scores = fuse(arrays(first), arrays(second), k, fusion)
    expected = fused(first, second, fusion)[:k]
    assert rows.tolist() == [row for row, _ in expected]
    assert scores.tolist() == pytest.approx([score for _, score in expected])
    assert ((scores >= 0.0) & (scores <= 1.0 + 1e-12)).all()


def test_first_in_both_scores_one():
    one = arrays([(3, 1.0), (4, 0.5)])
    assert fuse(one, one, 1, Fusion())[1].tolist() == [1.0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "max"},
        {"method": np.array(["rrf", "alpha"])},
        {"alpha": 1.5},
        {"alpha": float("nan")},
        {"alpha": "a"},
        {"alpha": None},
        {"alpha": np.ones(2)},
        {"alpha": 10**5000},
        {"depth": 0},
        {"depth": 10**30},
        {"depth": 10**5000},
        {"depth": True},
        {"rrf_k": 0.0},
        {"rrf_k": "a"},
        {"rrf_k": None},
        {"rrf_k": float("inf")},
        {"rrf_k": 10**400},
    ],
)
def test_what_cannot_be_computed_is_refused(wrong):
    with pytest.raises(InvalidInputError, match=next(iter(wrong))):
        Fusion(**wrong)
