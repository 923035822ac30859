"""Maximal marginal relevance: results that are near the query and far from each other.

Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries", SIGIR 1998, section 2, with cosine similarity for both terms.

There a candidate is compared with all that were chosen, and so it is by LangChain. LlamaIndex
compares it with the one chosen last alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, RowArray


def maximal_marginal_relevance(
    query: FloatArray,
    vectors: FloatArray,
    k: int,
    lambda_mult: float,
    diverse_from: Literal["all", "last"] = "all",
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
    diverse_from
        From which of those chosen already: ``"all"``, or the ``"last"``.

    Returns
    -------
    list of int
        Positions in `vectors`, in the order chosen; ties go to the lower position.
    """
    if len(vectors) == 0 or k <= 0:
        return []
    first, twin = _distinct(vectors)
    units = _unit(vectors[first])
    relevance = (units @ _unit(query[None])[0])[twin]
    chosen = [int(np.argmax(relevance))]
    redundancy = (units @ units[twin[chosen[0]]])[twin]
    open_ = np.ones(len(vectors), dtype=bool)
    open_[chosen[0]] = False
    while len(chosen) < min(k, len(vectors)):
        marginal = lambda_mult * relevance - (1.0 - lambda_mult) * redundancy
        marginal[~open_] = -np.inf
        best = int(np.argmax(marginal))
        chosen.append(best)
        open_[best] = False
        to_best = (units @ units[twin[best]])[twin]
        redundancy = to_best if diverse_from == "last" else np.maximum(redundancy, to_best)
    return chosen


def _distinct(vectors: FloatArray) -> tuple[RowArray, RowArray]:
    """Return where each distinct vector stands first, and for each vector which of these it is.

    BLAS rounds a row's product by its position (in the last bit), so that equal vectors would not
    tie: each distinct one is multiplied once.
    """
    numbers: dict[bytes, int] = {}
    signless = vectors + np.float32(0.0)  # -0.0 becomes 0.0
    twin = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in signless])
    return np.unique(twin, return_index=True)[1], twin


def _unit(vectors: FloatArray) -> NDArray[np.float64]:
    wide = vectors.astype(np.float64)
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(wide, norms, out=np.zeros_like(wide), where=norms > 0.0)
    return unit
