"""Calibration: which probe reaches which recall, measured on the index itself.

Members of the index serve as queries, each without itself as an answer; the truth comes from exact
search. `fit` measures recall at a few depths, `plan` reads the answer off the measured curve: a
pure function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from m2m_rag.compute.clustered import Probe

EPSILONS = (1.2, 2.0)
"""Widths of the bound that are measured: reading a few more vectors, or probing a few clusters
more, is cheaper at one recall or the other."""
CODE_COST, CLUSTER_COST, VECTOR_COST, QUERY_COST, ROW_COST = 0.0025, 0.10, 0.18, 20.0, 0.08
"""Microseconds: a code, a cluster's start, a candidate's vector, all the rest of a query, and a row
read with others in ascending order (100,000 × 384)."""
LEAST_TARGET = 0.95
BUDGET, BUDGET_A_RESULT = 80.0, 0.8
"""Modelled microseconds that a search spends when no recall is named: 88 for ten results, 160 for
a hundred, about what fetching them from SQLite takes. That probes everything up to some 5,000 rows
and 180 of 1,268 clusters at 100,000."""
READS, READS_GROWTH = 19.0, 0.59
"""Vectors read at the largest epsilon: 19 k^0.59 (74 for ten results, 290 for a hundred)."""
GROWTH = 1.8
"""Ratio of the depths that are measured."""
CANDIDATE_SHARE, CANDIDATES_MORE = 1.3, 12
"""Centroids compared exactly for each cluster probed, and how many more."""


class Point(NamedTuple):
    """One measurement: k results wanted, a probe, its recall and mean cost in microseconds."""

    k: int
    n_probe: int
    epsilon: float
    recall: float
    cost: float


class Curve(NamedTuple):
    """All measurements of one index.

    Attributes
    ----------
    n_fine, n_rows
        Clusters and codes that the index had then.
    n_seen
        Real queries seen by then; 0 when members were measured.
    points
        The measurements.
    """

    n_fine: int
    n_rows: int
    n_seen: int
    points: Sequence[Point]


def depths(n_fine: int) -> list[int]:
    """Return the numbers of probes to measure.

    Examples
    --------
    >>> depths(20)
    [1, 2, 3, 6, 10, 19, 20]
    """
    found, depth = [1], 1.0
    while found[-1] < n_fine:
        depth *= GROWTH
        found.append(min(n_fine, max(found[-1] + 1, round(depth))))
    return found


def probe_of(n_probe: int, epsilon: float, n_fine: int) -> Probe:
    """Return the probe with its number of candidates."""
    wanted = math.ceil(CANDIDATE_SHARE * n_probe) + CANDIDATES_MORE
    return Probe(min(n_probe, n_fine), min(wanted, n_fine), epsilon)


def cost_of(clusters: float, codes: float, vectors: float) -> float:
    """Return the modelled microseconds of a query."""
    return QUERY_COST + CLUSTER_COST * clusters + CODE_COST * codes + VECTOR_COST * vectors


def plan(curve: Curve, recall: float, k: float, n_fine: int) -> Probe:
    """Choose the cheapest probe that reaches a recall.

    Parameters
    ----------
    curve
        The measurements.
    recall
        The target; beyond what was measured, everything is probed.
    k
        Results wanted, divided by the share of rows that a filter allows. Between and beyond the
        measured ks, the number of probes is interpolated on logarithmic scales.
    n_fine
        Clusters now; more than were measured take as many more probes.
    """
    if not curve.points:
        return probe_of(n_fine, EPSILONS[-1], n_fine)
    ks = sorted({point.k for point in curve.points})
    best = [min(_reaching(curve, recall, each), key=lambda found: found[2]) for each in ks]
    n_probe, epsilon = float(best[0][0]), max(found[1] for found in best)
    if len(ks) > 1:
        slope = math.log(best[-1][0] / best[0][0]) / math.log(ks[-1] / ks[0])
        n_probe = best[0][0] * (max(k, 1.0) / ks[0]) ** max(slope, 0.0)
        epsilon = best[0][1] if k <= math.sqrt(ks[0] * ks[-1]) else best[-1][1]
    n_probe *= max(1.0, n_fine / curve.n_fine)
    return probe_of(max(1, min(n_fine, math.ceil(n_probe))), epsilon, n_fine)


def default_probe(curve: Curve, k: int, share: float, n_rows: int, n_fine: int) -> Probe:
    """Choose the probe of a search that names no recall: what the budget buys, at least 0.95.

    Parameters
    ----------
    curve
        The measurements.
    k
        Results wanted.
    share
        Share of the rows that is allowed.
    n_rows, n_fine
        Rows and clusters now.
    """
    least = plan(curve, LEAST_TARGET, k / share, n_fine)
    left = BUDGET + BUDGET_A_RESULT * k - QUERY_COST - VECTOR_COST * READS * k**READS_GROWTH
    affordable = int(left / (CLUSTER_COST + CODE_COST * n_rows / n_fine))
    if affordable <= least.n_probe:
        return least
    return probe_of(affordable, EPSILONS[-1], n_fine)


def can_reach(curve: Curve, recall: float, k: float) -> bool:
    """Tell whether any probe that was measured reaches a recall, at the nearest k measured."""
    if not curve.points:
        return False
    near = min({point.k for point in curve.points}, key=lambda each: abs(math.log(each / k)))
    return max(point.recall for point in curve.points if point.k == near) >= recall


def expected_recall(curve: Curve, probe: Probe, k: int) -> float:
    """Return the recall that a probe is expected to have; NaN when nothing was measured."""
    if not curve.points:
        return math.nan
    ks = sorted({point.k for point in curve.points})
    near = min(ks, key=lambda each: abs(math.log(each / max(k, 1))))
    mine = [p for p in curve.points if p.k == near and p.epsilon == _nearest(probe.epsilon)]
    return float(
        np.interp(
            math.log(probe.n_probe),
            [math.log(p.n_probe) for p in mine],
            [p.recall for p in mine],
        )
    )


def _nearest(epsilon: float) -> float:
    return min(EPSILONS, key=lambda each: abs(each - epsilon))


def _reaching(curve: Curve, recall: float, k: int) -> list[tuple[float, float, float]]:
    """Return (n_probe, epsilon, cost) of reaching the recall with each epsilon that can."""
    found = []
    for epsilon in EPSILONS:
        mine = [p for p in curve.points if p.k == k and p.epsilon == epsilon]
        for before, after in zip([None, *mine], mine, strict=False):
            if after.recall < recall:
                continue
            n_probe, cost = float(after.n_probe), after.cost
            if before is not None and after.recall > before.recall:
                share = (recall - before.recall) / (after.recall - before.recall)
                n_probe = before.n_probe * (after.n_probe / before.n_probe) ** share
                cost = before.cost + share * (after.cost - before.cost)
            found.append((n_probe, epsilon, cost))
            break
    return found or [(curve.n_fine, EPSILONS[-1], math.inf)]
