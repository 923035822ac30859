"""Scores: one direction (higher is better) and one conversion to a relevance in [0, 1].

============  =======================================  =====================================
metric        score                                    relevance
============  =======================================  =====================================
``cosine``    cosine of the angle, in [-1, 1]          (1 + s) / 2
``dot``       inner product, any real                  (1 + s / (1 + abs(s))) / 2
``l2``        minus the Euclidean distance, <= 0       1 / (1 - s)
============  =======================================  =====================================

Each conversion grows strictly with the score, whatever the vectors' lengths, so a threshold on
relevance keeps the order of the search. For ``dot`` the softsign stands in place of the logistic
function, which reaches 1.0 in float64 at s = 37 and would merge all better hits.
"""

from __future__ import annotations

from m2m_rag._types import Metric


def relevance(score: float, metric: Metric) -> float:
    """Convert a score to a relevance in [0, 1].

    Examples
    --------
    >>> relevance(1.0, "cosine"), relevance(0.0, "dot"), relevance(-1.0, "l2")
    (1.0, 0.5, 0.5)
    """
    if metric == "cosine":
        return (1.0 + score) / 2.0
    if metric == "dot":
        return (1.0 + score / (1.0 + abs(score))) / 2.0
    return 1.0 / (1.0 - score)
