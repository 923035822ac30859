"""Curves: the frontier, interpolation that never extrapolates, and the comparison."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m_rag.bench.curves import Point, frontier, qps_at, speed_at, summarise

CURVE = [Point(0.8, 10_000.0), Point(0.9, 1000.0), Point(1.0, 10.0)]
points = st.lists(
    st.builds(Point, st.floats(0, 1), st.floats(1, 1e6)), min_size=1, max_size=12, unique=True
)


def test_between_two_points_the_logarithm_is_linear():
    assert qps_at(CURVE, 0.95) == pytest.approx(100)
    assert qps_at(CURVE, 0.85) == pytest.approx(math.sqrt(1e7))
    assert qps_at(CURVE, 0.925) == pytest.approx(1000 / math.sqrt(10))


def test_a_measured_recall_gives_the_measured_speed():
    assert [qps_at(CURVE, point.recall) for point in CURVE] == [10_000, 1000, 10]


def test_the_neighbours_are_those_on_the_frontier():
    beaten = [Point(0.99, 9.0), Point(0.9, 999.0), Point(0.7, 10_000.0)]
    assert frontier(CURVE + beaten) == CURVE
    assert qps_at(CURVE + beaten, 0.95) == pytest.approx(100)


@pytest.mark.parametrize("recall", [0.79, 0.5, 1.01])
def test_outside_the_curve_there_is_no_interpolation(recall):
    assert qps_at(CURVE, recall) is None


def test_of_nothing_nothing_is_known():
    assert frontier([]) == []
    assert qps_at([], 0.95) is None
    assert speed_at([], 0.95) == (None, "not reached")


def test_a_speed_says_where_it_comes_from():
    assert speed_at(CURVE, 0.9) == (1000, "interpolated")
    assert speed_at(CURVE, 0.5) == (10_000, "at least")
    assert speed_at(CURVE[:2], 0.95) == (None, "not reached")
    assert speed_at([Point(1.0, 7.0)], 0.95) == (7, "at least")


@given(points, st.floats(0, 1))
def test_a_speed_never_leaves_what_was_measured(measured, recall):
    speed = speed_at(measured, recall)
    at_or_above = [point.qps for point in measured if point.recall >= recall]
    if not at_or_above:
        assert speed == (None, "not reached")
        return
    assert max(at_or_above) * (1 - 1e-9) <= speed.qps
    assert speed.qps <= max(point.qps for point in measured) * (1 + 1e-9)
    if speed.kind == "at least":
        assert speed.qps == max(at_or_above)


@given(points)
def test_no_point_of_the_frontier_is_beaten(measured):
    curve = frontier(measured)
    assert curve == sorted(curve)
    for point in curve:
        for other in measured:
            assert other == point or other.recall < point.recall or other.qps < point.qps


def rows_of(**methods):
    return [
        {"method": name, "recall": recall, "qps_cpu": qps}
        for name, curve in methods.items()
        for recall, qps in curve
    ]


def test_the_summary_compares_with_the_best_peer():
    rows = rows_of(m2m=CURVE, slow=[(0.9, 10.0), (1.0, 1.0)], fast=[(0.9, 4000.0), (1.0, 40.0)])
    at_95, at_99 = summarise(rows, "m2m")
    assert at_95["recall"] == 0.95
    assert at_95["best_peer"] == "fast"
    assert at_95["qps"] == pytest.approx(100)
    assert at_95["ratio"] == pytest.approx(0.25)
    assert at_95["ratio_kind"] == "interpolated"
    assert at_99["ratio"] == pytest.approx(0.25)


def test_the_summary_never_extrapolates():
    rows = rows_of(m2m=CURVE[:2], low=[(0.5, 1e6), (0.6, 1e5)], exact=[(1.0, 5.0)])
    (entry, _) = summarise(rows, "m2m")
    assert (entry["qps"], entry["ratio"], entry["ratio_kind"]) == (None, None, None)
    assert entry["methods"]["low"] == {"qps": None, "kind": "not reached"}
    assert (entry["best_peer"], entry["best_peer_qps"]) == ("exact", 5.0)


@pytest.mark.parametrize(
    ("ours", "peer", "ratio", "kind"),
    [
        (CURVE, [(0.97, 1000.0)], 0.1, "at most"),
        ([(0.97, 1000.0)], CURVE, 10, "at least"),
        ([(0.97, 1000.0)], [(0.98, 500.0)], 2, "of bounds"),
    ],
)
def test_a_ratio_of_a_bound_says_so(ours, peer, ratio, kind):
    (entry, _) = summarise(rows_of(m2m=ours, peer=peer), "m2m")
    assert entry["ratio"] == pytest.approx(ratio)
    assert entry["ratio_kind"] == kind


def test_without_peers_there_is_no_ratio():
    (entry, _) = summarise(rows_of(m2m=CURVE), "m2m")
    assert (entry["best_peer"], entry["ratio"]) == (None, None)
