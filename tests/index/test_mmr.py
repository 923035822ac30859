"""Maximal marginal relevance against the definition, written with loops."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from m2m_rag.index import maximal_marginal_relevance


def by_loops(query, vectors, k, lambda_mult, diverse_from="all"):
    chosen: list[int] = []
    while len(chosen) < min(k, len(vectors)):
        best, best_value = -1, -np.inf
        for row, vector in enumerate(vectors):
            if row in chosen:
                continue
            relevance = oracle.score(query, vector, "cosine")
            others = chosen if diverse_from == "all" else chosen[-1:]
            redundancy = max(
                (oracle.score(vectors[c], vector, "cosine") for c in others), default=0
            )
            value = lambda_mult * relevance - (1 - lambda_mult) * redundancy
            if not chosen:
                value = relevance
            if value > best_value + 1e-12:  # float32 inputs: closer than this is a tie
                best, best_value = row, value
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("lambda_mult", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 4, 30])
@pytest.mark.parametrize("diverse_from", ["all", "last"])
def test_equals_the_definition(lambda_mult, k, diverse_from):
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(25, 8)).astype(np.float32)
    query = rng.normal(size=8).astype(np.float32)
    expected = by_loops(query, vectors, k, lambda_mult, diverse_from)
    assert maximal_marginal_relevance(query, vectors, k, lambda_mult, diverse_from) == expected


@pytest.mark.parametrize("lambda_mult", [0.0, 0.5, 1.0])
def test_equal_vectors_tie_to_the_lower_position(lambda_mult):
    rng = np.random.default_rng(12)
    for _ in range(20):  # BLAS rounds by position: not every draw shows it
        few = rng.normal(size=(7, 384)).astype(np.float32)
        few[:, 5] = 0.0
        which = rng.integers(0, 7, size=23)
        vectors = few[which]
        vectors[::2, 5] = -0.0
        query = rng.normal(size=384).astype(np.float32)
        chosen = maximal_marginal_relevance(query, vectors, 23, lambda_mult)
        for group in range(7):
            positions = [position for position in chosen if which[position] == group]
            assert positions == sorted(positions)


def test_no_candidates_and_zero_vectors():
    query = np.ones(3, dtype=np.float32)
    assert maximal_marginal_relevance(query, np.empty((0, 3), np.float32), 4, 0.5) == []
    assert maximal_marginal_relevance(query, np.zeros((2, 3), np.float32), 4, 0.5) == [0, 1]
