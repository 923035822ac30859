"""Maximal marginal relevance: results that are near the query and far from each other.

Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries", SIGIR 1998, section 2, with cosine similarity for both terms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray


def maximal_marginal_relevance(
    query: FloatArray, vectors: FloatArray, k: int, lambda_mult: float
) -> list[int]:
    """Choose k of the candidates, each time the one with the best marginal relevance.

    Parameters
    ----------
    query
        ``(d,)`` float32.
    vectors
        ``(n, d)`` float32 candidates.
    k
        How many to choose; all when there are fewer.
    lambda_mult
        1 chooses by similarity to the query alone, 0 by distance from those chosen already.

    Returns
    -------
    list of int
        Positions in `vectors`, in the order chosen; ties go to the lower position.
    """
    if len(vectors) == 0 or k <= 0:
        return []
    units = _unit(vectors)
    relevance = units @ _unit(query[None])[0]
    chosen = [int(np.argmax(relevance))]
    redundancy = units @ units[chosen[0]]
    open_ = np.ones(len(vectors), dtype=bool)
    open_[chosen[0]] = False
    while len(chosen) < min(k, len(vectors)):
        marginal = lambda_mult * relevance - (1.0 - lambda_mult) * redundancy
        marginal[~open_] = -np.inf
        best = int(np.argmax(marginal))
        chosen.append(best)
        open_[best] = False
        np.maximum(redundancy, units @ units[best], out=redundancy)
    return chosen


def _unit(vectors: FloatArray) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0.0)
    return unit
