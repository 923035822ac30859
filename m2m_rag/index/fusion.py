"""Fusing two rankings of the same rows, one by vectors and one by words, into one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np

from m2m_rag._types import RowArray, ScoreArray
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError, shown


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a search by vector and by text makes one ranking of two.

    Attributes
    ----------
    method
        ``"rrf"``: reciprocal ranks, 1 / (`rrf_k` + rank) summed over both rankings (Cormack,
        Clarke & Buettcher, SIGIR 2009), scaled so that first place in both scores 1.
        ``"alpha"``: `alpha` times the vectors' score plus 1 - `alpha` times the words', each
        ranking's scores scaled from 0 (its last candidate) to 1 (its first); a record that is not
        among a ranking's candidates gets 0 for it.
    alpha
        Weight of the vectors: 0 is words alone, 1 vectors alone.
    depth
        Candidates taken of each ranking, whatever k is, so that asking for more results does not
        change the first ones; k, when k is more.
    rrf_k
        How little the first places stand out.
    """

    method: Literal["rrf", "alpha"] = "rrf"
    alpha: float = 0.5
    depth: int = 100
    rrf_k: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if not isinstance(self.method, str) or self.method not in ("rrf", "alpha"):
            raise InvalidInputError(f"method: expected 'rrf' or 'alpha', got {shown(self.method)}.")
        if not _is_number(self.alpha) or not 0.0 <= self.alpha <= 1.0:
            raise InvalidInputError(f"alpha: expected 0 to 1, got {shown(self.alpha)}.")
        if type(self.depth) is not int or not 1 <= self.depth <= LIMITS.k:
            raise InvalidInputError(
                f"depth: expected a whole number from 1 to {LIMITS.k}, got {shown(self.depth)}."
            )
        if not _is_number(self.rrf_k) or not 0.0 < self.rrf_k <= sys.float_info.max:
            raise InvalidInputError(
                f"rrf_k: expected a finite number above 0, got {shown(self.rrf_k)}."
            )


def fuse(
    by_vector: tuple[RowArray, ScoreArray],
    by_words: tuple[RowArray, ScoreArray],
    k: int,
    fusion: Fusion,
) -> tuple[RowArray, ScoreArray]:
    """Return the best k rows of two rankings, best first, ties to the lower row.

    Parameters
    ----------
    by_vector, by_words
        Rows and scores of each, best first.
    k
        Rows wanted.
    fusion
        How.

    Examples
    --------
    >>> by_words = np.array([7]), np.ones(1)
    >>> fuse((np.array([4, 7]), np.ones(2)), by_words, 2, Fusion())[0].tolist()
    [7, 4]
    """
    rows = np.union1d(by_vector[0], by_words[0])
    total = np.zeros(len(rows))
    weights = (0.5, 0.5) if fusion.method == "rrf" else (fusion.alpha, 1.0 - fusion.alpha)
    for (found, scores), weight in zip((by_vector, by_words), weights, strict=True):
        if fusion.method == "rrf":
            parts = (fusion.rrf_k + 1.0) / (fusion.rrf_k + np.arange(1.0, len(found) + 1.0))
        else:
            parts = _scaled(scores)
        total[np.searchsorted(rows, found)] += weight * parts
    best = np.lexsort((rows, -total))[:k]
    return rows[best], total[best]


def _is_number(value: object) -> bool:
    is_real = isinstance(value, (int, float, np.integer, np.floating))
    return is_real and not isinstance(value, bool)


def _scaled(scores: ScoreArray) -> ScoreArray:
    """Return scores from 0 to 1; equal ones are all 1."""
    if not len(scores):
        return scores
    least, most = scores[-1], scores[0]
    if most == least:
        return np.ones(len(scores))
    scaled: ScoreArray = (scores - least) / (most - least)
    return scaled
