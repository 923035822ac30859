"""Judging answers by brute force: how much was found, and whether the filter was kept to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from m2m_rag._types import FloatArray, RowArray
from m2m_rag.bench.store.conditions import Metadata, Terms, describe, matches

TIE = 1e-6
"""A row whose score is so near to the k-th best counts as one of the best: texts come twice, and
float32 sums of 384 products in another order differ by some 1e-7."""
BLOCK = 64
"""Queries that are multiplied at a time."""


class Case(NamedTuple):
    """A filter with what brute force finds under it.

    Attributes
    ----------
    terms
        The filter.
    is_match
        ``(n,)`` bool, whether a record matches.
    n_best
        Rows that a right answer has: k, or as many as match.
    floors
        ``(m,)`` the score of the last of them, for each query.
    """

    terms: Terms
    is_match: RowArray
    n_best: int
    floors: FloatArray

    @property
    def name(self) -> str:
        """The filter for people."""
        return describe(self.terms)

    @property
    def n_matching(self) -> int:
        """How many records match."""
        return int(np.count_nonzero(self.is_match))


class Verdict(NamedTuple):
    """What is true of a method's answers to one case.

    Attributes
    ----------
    recall
        The share of the rows of right answers that were found.
    n_right
        Answers that are as long as they must be, name no row twice, and only rows that match.
    n_answers
        All answers.
    """

    recall: float
    n_right: int
    n_answers: int


def make_cases(
    filters: Sequence[Terms],
    metadatas: Sequence[Metadata],
    vectors: FloatArray,
    queries: FloatArray,
    k: int,
) -> list[Case]:
    """Answer every query under every filter by brute force.

    Parameters
    ----------
    filters
        Each matches at least one record.
    metadatas, vectors
        The records; vectors ``(n, d)`` of unit length.
    queries
        ``(m, d)`` of unit length.
    k
        Rows of an answer.
    """
    cases = []
    for terms in filters:
        is_match = np.array([matches(metadata, terms) for metadata in metadatas])
        n_best = min(k, int(np.count_nonzero(is_match)))
        cases.append(Case(terms, is_match, n_best, np.empty(len(queries), dtype=np.float32)))
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ vectors.T
        for case in cases:
            allowed = scores[:, case.is_match]
            place = allowed.shape[1] - case.n_best
            case.floors[start : start + BLOCK] = np.partition(allowed, place, axis=1)[:, place]
    return cases


def judge(
    found: Sequence[Sequence[int]], case: Case, vectors: FloatArray, queries: FloatArray
) -> Verdict:
    """Judge a method's answers to the first ``len(found)`` queries."""
    n_found = n_right = 0
    for rows, query, floor in zip(found, queries, case.floors, strict=False):
        known = np.array(sorted({row for row in rows if 0 <= row < len(vectors)}), dtype=np.int64)
        right = known[case.is_match[known]]
        is_best = vectors[right] @ query >= floor - TIE
        n_found += min(case.n_best, int(np.count_nonzero(is_best)))
        n_right += len(right) == len(rows) == case.n_best
    return Verdict(n_found / (len(found) * case.n_best), n_right, len(found))
