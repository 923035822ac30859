"""The router: how a search is to be answered, decided before anything is touched.

Three ways lead to an answer: probing clusters to a recall, exact search through the codes, and
exact search over the allowed rows one by one. With a filter that leaves m of n rows, the best k of
them are about as far apart as the best k n / m of all, so as many clusters have to be probed as
for that many results; reading the m rows costs m reads. The cheaper way is taken. A recall that no
probe reached when it was measured is answered exactly.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from m2m_rag.compute.clustered import LOD, Probe
from m2m_rag.index.hrm2.calibration import (
    FILTER_COST,
    LEAST_TARGET,
    MASK_COST,
    NUMBER_COST,
    ROW_COST,
    Curve,
    Plan,
    can_reach,
    cost_of,
    default_plan,
    plan,
    probe_of,
)

MANY = 0.1
"""Share of all rows that one query may ask for; beyond, the allowed rows are read one by one."""
READS_A_RESULT = 5.0
"""Vectors read for each result at the default recall."""


class Route(NamedTuple):
    """How to answer.

    Attributes
    ----------
    kind
        ``"probe"``: probe clusters; ``"exact"``: through all codes; ``"chosen"``: read the allowed
        rows one by one.
    probe
        How far to probe, for ``"probe"``.
    """

    kind: Literal["chosen", "probe", "exact"]
    probe: Probe | None


def choose(
    curve: Curve,
    n_rows: int,
    n_allowed: int,
    k: int,
    recall: float | None,
    n_probe: int | None,
    lod: LOD,
    n_fine: int,
    dimension: int,
) -> Route:
    """Choose the way to answer a query.

    Parameters
    ----------
    curve
        The index's calibration.
    n_rows, n_allowed
        Stored rows, and those that liveness and filter leave.
    k, recall, n_probe, lod
        What was asked for.
    n_fine, dimension
        Clusters now, and numbers of a vector.
    """
    if n_allowed <= k or k > MANY * n_rows:
        return Route("chosen", None)
    share = n_allowed / n_rows
    if lod == 2:
        return Route("chosen" if share < 0.25 else "exact", None)
    if n_probe is None and not can_reach(curve, LEAST_TARGET if recall is None else recall, k):
        return Route("exact", None)
    if recall is None:
        planned = default_plan(curve, k, share, n_rows, n_fine)
    else:
        planned = plan(curve, recall, k, share, n_rows, n_fine)
    if n_probe is not None:
        return Route("probe", probe_of(n_probe, planned.probe.epsilon, n_fine))
    reading = n_allowed * (ROW_COST + NUMBER_COST * dimension) + n_rows * MASK_COST
    if reading < _cost(planned, n_fine, n_rows, k):
        return Route("chosen", None)
    return Route("probe", planned.probe)


def _cost(planned: Plan, n_fine: int, n_rows: int, k: int) -> float:
    codes = planned.clusters * n_rows / n_fine
    filtered = FILTER_COST * k * (1.0 / planned.probe.share - 1.0)
    unfiltered = cost_of(planned.clusters, codes, READS_A_RESULT * k)
    return unfiltered + filtered
