"""Maximal marginal relevance against the definition, written with loops."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from m2m_rag.index import maximal_marginal_relevance


def by_loops(query, vectors, k, lambda_mult):
    chosen: list[int] = []
    while len(chosen) < min(k, len(vectors)):
        best, best_value = -1, -np.inf
        for row, vector in enumerate(vectors):
            if row in chosen:
                continue
            relevance = oracle.score(query, vector, "cosine")
            redundancy = max(
                (oracle.score(vectors[c], vector, "cosine") for c in chosen), default=0
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
def test_equals_the_definition(lambda_mult, k):
    rng = np.random.default_rng(11)
    vectors = rng.normal(size=(25, 8)).astype(np.float32)
    query = rng.normal(size=8).astype(np.float32)
    expected = by_loops(query, vectors, k, lambda_mult)
    assert maximal_marginal_relevance(query, vectors, k, lambda_mult) == expected


def test_no_candidates_and_zero_vectors():
    query = np.ones(3, dtype=np.float32)
    assert maximal_marginal_relevance(query, np.empty((0, 3), np.float32), 4, 0.5) == []
    assert maximal_marginal_relevance(query, np.zeros((2, 3), np.float32), 4, 0.5) == [0, 1]
