"""Calibration: which probe reaches which recall, read off what was measured: pure functions.

`m2m_rag.index.hrm2.measuring` measures recall at a few thresholds of the promise. Between two of
them, the share that is missed falls, and the number of clusters grows, about exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from m2m_rag.compute.clustered import PILOT_ROWS, Probe

EPSILONS = (1.5, 2.4)
"""Widths of the bound that are measured: reading a few more vectors, or probing a few clusters
more, is cheaper at one recall or the other."""
CODE_COST, CLUSTER_COST, VECTOR_COST, QUERY_COST, FILTER_COST = 0.002, 0.14, 0.25, 14.0, 0.13
"""Microseconds: a code, a cluster's start with the centroids compared for it, a vector read, and
all the rest of a query (100,000 × 384). With a filter, `FILTER_COST` for each of the k / share rows
that would be better than the k-th allowed one: the pilot is so much larger, and their lanes are
looked at."""
ROW_COST, NUMBER_COST, MASK_COST = 0.007, 0.000125, 0.00015
"""Microseconds: a row read with others in ascending order, each number of it, and a row of the mask
looked at."""
HEADROOM = 0.3
"""A smaller epsilon is used where the best recall with it leaves out at most 0.7 of what the target
leaves out: what its bounds miss depends more on the kind of queries than what the threshold does.
On SIFT with noisy copies, 1.5 reaches 0.982 on stand-ins and 0.975 on real queries."""
LEAST_TARGET = 0.95
BUDGET, BUDGET_A_RESULT = 80.0, 0.8
"""Modelled microseconds that a search spends when no recall is named: 88 for ten results, 160 for
a hundred, about what fetching them from SQLite takes. That probes everything up to some 5,000 rows
and 180 of 1,268 clusters at 100,000."""
READS, READS_GROWTH = 14.0, 0.59
"""Vectors read at the largest epsilon: 14 k^0.59 (54 for ten results, 210 for a hundred)."""
CANDIDATE_SHARE, CANDIDATES_MORE = 1.3, 12
"""Centroids compared exactly for each cluster that is to be probed, and how many more."""
LEAST_MISSED = 1e-4
"""A smaller miss than this cannot be measured."""
NO_GROWTH = 1.02
"""So many times the clusters are as good as equal."""
MOST_EXTRAPOLATED = 1.5
"""How far beyond the ks that were measured thresholds are extrapolated, in their distance."""


class Point(NamedTuple):
    """One measurement.

    Attributes
    ----------
    k
        Results wanted.
    epsilon, threshold
        Of the probe (`m2m_rag.compute.clustered.Probe`).
    clusters
        Clusters that were probed, on average.
    recall
        The share of the true best k that was found, on average.
    cost
        Modelled microseconds, on average.
    """

    k: int
    epsilon: float
    threshold: float
    clusters: float
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
        The measurements; of each k and epsilon, the highest threshold first.
    """

    n_fine: int
    n_rows: int
    n_seen: int
    points: Sequence[Point]


class Plan(NamedTuple):
    """A probe, and how many clusters it is expected to probe."""

    probe: Probe
    clusters: float


def probe_of(n_probe: float, epsilon: float, n_fine: int, share: float = 1.0) -> Probe:
    """Return the probe of a fixed number of clusters.

    Examples
    --------
    >>> probe_of(20, 2.0, 1000)
    Probe(n_probe=20, n_candidates=38, epsilon=2.0, threshold=-inf, share=1.0)
    """
    most = max(1, min(n_fine, math.ceil(n_probe)))
    return Probe(most, _candidates(most, n_fine), epsilon, -math.inf, share)


def promising(
    threshold: float, epsilon: float, k: int, share: float, n_rows: int, n_fine: int
) -> Probe:
    """Return the probe of all clusters whose promise reaches a threshold.

    Examples
    --------
    >>> promising(-0.5, 2.0, 10, 1.0, 100_000, 1000)
    Probe(n_probe=1000, n_candidates=16, epsilon=2.0, threshold=-0.5, share=1.0)
    """
    in_pilot = PILOT_ROWS * k / share * n_fine / max(n_rows, 1)
    return Probe(n_fine, _candidates(in_pilot, n_fine), epsilon, threshold, share)


def _candidates(n_probe: float, n_fine: int) -> int:
    return min(n_fine, math.ceil(CANDIDATE_SHARE * n_probe) + CANDIDATES_MORE)


def cost_of(clusters: float, codes: float, vectors: float) -> float:
    """Return the modelled microseconds of a query."""
    return QUERY_COST + CLUSTER_COST * clusters + CODE_COST * codes + VECTOR_COST * vectors


def plan(curve: Curve, recall: float, k: int, share: float, n_rows: int, n_fine: int) -> Plan:
    """Choose the cheapest probe that reaches a recall.

    Parameters
    ----------
    curve
        The measurements.
    recall
        The target; where nothing that was measured reaches it, everything is probed.
    k
        Results wanted.
    share
        Share of the rows that is allowed. The best k of them are as far away as the best k / share
        of all. Between and beyond the ks that were measured, the threshold is interpolated on a
        logarithmic scale of k / share.
    n_rows, n_fine
        Rows and clusters now.
    """
    found = [
        _at(curve, epsilon, k / share, "recall", recall)
        for epsilon in EPSILONS
        if epsilon == EPSILONS[-1]
        or can_reach(curve, recall + HEADROOM * (1.0 - recall), k / share, epsilon)
    ]
    points = [point for point in found if point is not None]
    if not points:
        return Plan(probe_of(n_fine, EPSILONS[-1], n_fine, share=share), n_fine)
    best = min(points, key=lambda point: point.cost)
    return _planned(curve, best, k, share, n_rows, n_fine)


def default_plan(curve: Curve, k: int, share: float, n_rows: int, n_fine: int) -> Plan:
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
    least = plan(curve, LEAST_TARGET, k, share, n_rows, n_fine)
    left = BUDGET + BUDGET_A_RESULT * k - QUERY_COST - VECTOR_COST * READS * k**READS_GROWTH
    affordable = left / (CLUSTER_COST + CODE_COST * n_rows / n_fine)
    if affordable <= least.clusters:
        return least
    epsilon = EPSILONS[-1]
    mine = [point for point in curve.points if point.epsilon == epsilon]
    if affordable >= n_fine or not mine:
        return Plan(probe_of(affordable, epsilon, n_fine, share=share), min(affordable, n_fine))
    near = _nearest([point.k for point in mine], k / share)
    # Never a fixed number instead of a threshold: what a filter leaves may lie far away.
    most = max(point.clusters for point in mine if point.k == near)
    measured = min(affordable * curve.n_fine / n_fine, most)
    point = _at(curve, epsilon, k / share, "clusters", measured)
    planned = least if point is None else _planned(curve, point, k, share, n_rows, n_fine)
    return planned if planned.clusters > least.clusters else least


def can_reach(curve: Curve, recall: float, k: float, epsilon: float | None = None) -> bool:
    """Tell whether any probe that was measured reaches a recall, at the nearest k measured.

    Only probes with `epsilon` count where it is given.
    """
    if not curve.points:
        return False
    near = _nearest([point.k for point in curve.points], k)
    return any(
        point.recall >= recall and (epsilon is None or point.epsilon == epsilon)
        for point in curve.points
        if point.k == near
    )


def expected_recall(curve: Curve, probe: Probe, k: int) -> float:
    """Return the recall that a probe is expected to have; NaN when nothing was measured."""
    if not curve.points:
        return math.nan
    near = _nearest([point.k for point in curve.points], k)
    epsilon = min(EPSILONS, key=lambda each: abs(each - probe.epsilon))
    mine = [p for p in curve.points if p.k == near and p.epsilon == epsilon]
    recalls = [p.recall for p in mine]
    if probe.threshold > -math.inf:
        return float(np.interp(-probe.threshold, [-p.threshold for p in mine], recalls))
    return float(np.interp(probe.n_probe, [p.clusters for p in mine], recalls))


def _nearest(ks: Sequence[int], k: float) -> int:
    return min(ks, key=lambda each: abs(math.log(each / max(k, 1.0))))


def _planned(curve: Curve, point: Point, k: int, share: float, n_rows: int, n_fine: int) -> Plan:
    """Return the plan that a point stands for, with as many clusters as there are now."""
    probe = promising(point.threshold, point.epsilon, k, share, n_rows, n_fine)
    return Plan(probe, min(point.clusters * max(1.0, n_fine / curve.n_fine), n_fine))


def _at(
    curve: Curve, epsilon: float, k: float, what: Literal["recall", "clusters"], value: float
) -> Point | None:
    """Return the point, for any k, at which a curve reaches a value, or None.

    None as well where only the measured k that is further away reaches it.
    """
    ks = sorted({point.k for point in curve.points})
    found = {
        each: _crossing(
            [p for p in curve.points if p.k == each and p.epsilon == epsilon], what, value
        )
        for each in ks
    }
    ends = [point for point in found.values() if point is not None]
    if not ends or found[_nearest(ks, k)] is None:
        return None
    low, high = ends[0], ends[-1]
    if low.k == high.k:
        return low
    part = math.log(max(k, 1.0) / low.k) / math.log(high.k / low.k)
    part = min(max(part, 0.0), MOST_EXTRAPOLATED)
    return Point(
        low.k,
        epsilon,
        low.threshold + part * (high.threshold - low.threshold),
        low.clusters * max(1.0, high.clusters / low.clusters) ** part,
        low.recall + min(part, 1.0) * (high.recall - low.recall),
        low.cost * max(1.0, high.cost / low.cost) ** part,
    )


def _scaled(value: float, what: Literal["recall", "clusters"]) -> float:
    """Return what falls about evenly with the threshold: the logarithm of what is missed."""
    return -math.log(max(1.0 - value, LEAST_MISSED)) if what == "recall" else math.log(value)


def _crossing(
    points: Sequence[Point], what: Literal["recall", "clusters"], value: float
) -> Point | None:
    """Return where a curve first reaches a value, between two points.

    Where the pilot alone reaches it, whatever the threshold, that is the lowest such threshold:
    it must do for other ks, too, whose pilot is smaller.
    """
    for i, after in enumerate(points):
        before = points[i - 1] if i else None
        reached = getattr(after, what)
        if reached < value:
            continue
        if before is None or before.clusters * NO_GROWTH >= after.clusters:
            flat = [p for p in points[i:] if p.clusters <= after.clusters * NO_GROWTH]
            return flat[-1]
        ends = (_scaled(getattr(before, what), what), _scaled(reached, what))
        part = (_scaled(value, what) - ends[0]) / (ends[1] - ends[0])
        return Point(
            after.k,
            after.epsilon,
            before.threshold + part * (after.threshold - before.threshold),
            before.clusters * (after.clusters / before.clusters) ** part,
            before.recall + part * (after.recall - before.recall),
            before.cost + part * (after.cost - before.cost),
        )
    return None
