"""One answer of a progressive search."""

from __future__ import annotations

from typing import NamedTuple

from m2m_rag._types import RowArray, ScoreArray
from m2m_rag.compute.clustered import LOD, Work


class Stage(NamedTuple):
    """One answer of a progressive search.

    Attributes
    ----------
    lod
        0, 1 or 2.
    rows, scores
        The answer; at LOD 0 the scores are estimates.
    recall
        What the calibration expects; 1 at LOD 2, NaN at LOD 0, whose recall is not measured.
    latency_s
        Seconds since the search began.
    work
        What this level cost.
    """

    lod: LOD
    rows: RowArray
    scores: ScoreArray
    recall: float
    latency_s: float
    work: Work
