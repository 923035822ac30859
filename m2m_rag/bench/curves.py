"""Curves of recall against speed: the frontier of a method, and its speed at a given recall."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from math import exp, log
from typing import Any, Literal, NamedTuple, TypeAlias

Row: TypeAlias = dict[str, Any]
"""One row of a report."""
Clock: TypeAlias = Literal["qps_cpu", "qps_wall", "batch_qps_cpu", "batch_qps_wall"]
RECALLS = (0.95, 0.99)


class Point(NamedTuple):
    """A recall with the queries a second that were measured at it."""

    recall: float
    qps: float


class Speed(NamedTuple):
    """Queries a second at a recall.

    Attributes
    ----------
    qps
        The speed, or None when the method was not measured at that recall or above.
    kind
        ``"interpolated"`` between two measured points. ``"at least"``: the curve begins above
        the recall, and `qps` is its first point's, as measured. ``"not reached"``.
    """

    qps: float | None
    kind: Literal["interpolated", "at least", "not reached"]


def points_of(rows: Iterable[Row], method: str, clock: Clock = "qps_cpu") -> list[Point]:
    """Return the measured points of a method."""
    recall = "batch_recall" if clock.startswith("batch") else "recall"
    return [Point(row[recall], row[clock]) for row in rows if row["method"] == method]


def frontier(points: Iterable[Point]) -> list[Point]:
    """Return the points that no other beats in both, recall ascending, speed descending."""
    best: list[Point] = []
    for point in sorted(points, reverse=True):
        if not best or point.qps > best[-1].qps:
            best.append(point)
    return best[::-1]


def qps_at(points: Iterable[Point], recall: float) -> float | None:
    """Return the speed at a recall, linear in its logarithm between the neighbours on the frontier.

    None when the recall lies outside the frontier: nothing is extrapolated.

    Examples
    --------
    >>> round(qps_at([Point(0.9, 1000.0), Point(1.0, 10.0)], 0.95))
    100
    >>> qps_at([Point(0.9, 1000.0), Point(1.0, 10.0)], 0.85) is None
    True
    """
    curve = frontier(points)
    for point in curve:
        if point.recall == recall:
            return point.qps
    for low, high in itertools.pairwise(curve):
        if low.recall < recall < high.recall:
            share = (recall - low.recall) / (high.recall - low.recall)
            return exp((1 - share) * log(low.qps) + share * log(high.qps))
    return None


def speed_at(points: Iterable[Point], recall: float) -> Speed:
    """Return the speed at a recall, or the measured one of the first point above it."""
    points = list(points)
    qps = qps_at(points, recall)
    if qps is not None:
        return Speed(qps, "interpolated")
    above = [point.qps for point in points if point.recall > recall]
    return Speed(max(above), "at least") if above else Speed(None, "not reached")


def summarise(
    rows: Sequence[Row],
    ours: str,
    clock: Clock = "qps_cpu",
    recalls: Sequence[float] = RECALLS,
) -> list[Row]:
    """Compare our speed at some recalls with the best peer's.

    Returns
    -------
    list of dict
        For each recall: every method's `Speed`, our speed, the best peer with its speed, and the
        ratio of ours to it; None where one of them did not reach the recall. `ratio_kind` says
        whether the ratio is ``"interpolated"``, ``"at least"`` or ``"at most"`` that, as one of
        both speeds is, or ``"of bounds"`` when both are.
    """
    summary = []
    methods = list(dict.fromkeys(row["method"] for row in rows))
    for recall in recalls:
        speeds = {name: speed_at(points_of(rows, name, clock), recall) for name in methods}
        reached = {
            name: speed.qps
            for name, speed in speeds.items()
            if name != ours and speed.qps is not None
        }
        best = max(reached, key=lambda name: reached[name], default=None)
        own = speeds[ours].qps
        summary.append(
            {
                "recall": recall,
                "clock": clock,
                "methods": {name: speed._asdict() for name, speed in speeds.items()},
                "qps": own,
                "best_peer": best,
                "best_peer_qps": reached[best] if best else None,
                "ratio": own / reached[best] if best and own is not None else None,
                "ratio_kind": _ratio_kind(speeds[ours], speeds[best]) if best else None,
            }
        )
    return summary


def _ratio_kind(ours: Speed, peer: Speed) -> str | None:
    if "not reached" in (ours.kind, peer.kind):
        return None
    if peer.kind == "interpolated":
        return ours.kind
    return "at most" if ours.kind == "interpolated" else "of bounds"
