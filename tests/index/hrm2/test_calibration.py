"""Calibration and router: pure plans, tested on made-up curves."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m_rag.index.hrm2.calibration import (
    EPSILONS,
    Curve,
    Point,
    default_plan,
    expected_recall,
    plan,
    probe_of,
)
from m2m_rag.index.hrm2.measuring import climb
from m2m_rag.index.hrm2.router import choose

N_FINE, N_ROWS = 1000, 100_000


def curve(ks=(10, 100)):
    """Misses fall by e^(-4 * 0.1) from one threshold to the next, clusters grow by e^(5 * 0.1)."""
    points = []
    for k in ks:
        for epsilon in EPSILONS:
            for i in range(12):
                clusters = min(N_FINE, 4.0 * (k / 10) ** 0.3 * math.exp(0.5 * i))
                recall = 1.0 - 0.4 * math.exp(-0.4 * i) - 0.01 / epsilon
                cost = 20.0 + clusters + epsilon
                threshold = -0.2 - 0.1 * i
                points.append(Point(k, epsilon, threshold, clusters, recall, cost))
    return Curve(N_FINE, 100_000, 0, points)


@given(st.floats(0.5, 0.97), st.sampled_from([1, 10, 30, 100, 1000]))
def test_a_higher_target_probes_no_less(recall, k):
    low, high = (
        plan(curve(), target, k, 1.0, N_ROWS, N_FINE) for target in (recall, recall + 0.01)
    )
    assert 1.0 <= low.clusters <= high.clusters <= N_FINE
    assert low.probe.threshold >= high.probe.threshold
    assert low.probe.n_probe == N_FINE
    assert low.probe.n_candidates >= 24 * k / (N_ROWS / N_FINE)


@given(st.floats(0.65, 0.97))
def test_the_plan_reaches_its_target_and_no_more(recall):
    probe = plan(curve(), recall, 10, 1.0, N_ROWS, N_FINE).probe
    assert expected_recall(curve(), probe, 10) == pytest.approx(recall, abs=0.01)


def test_more_results_more_clusters_and_filters_take_more_probes():
    once = plan(curve(), 0.9, 10, 1.0, N_ROWS, N_FINE)
    assert plan(curve(), 0.9, 100, 1.0, N_ROWS, N_FINE).clusters > once.clusters
    grown = plan(curve(), 0.9, 10, 1.0, N_ROWS, 2 * N_FINE)
    assert grown.clusters == pytest.approx(2 * once.clusters)
    assert grown.probe.threshold == once.probe.threshold
    tenth = plan(curve(), 0.9, 10, 0.1, N_ROWS, N_FINE)
    assert tenth.clusters == pytest.approx(plan(curve(), 0.9, 100, 1.0, N_ROWS, N_FINE).clusters)
    assert tenth.probe.share == 0.1


def test_an_unreachable_target_probes_everything():
    probe = plan(curve(), 0.99999, 10, 1.0, N_ROWS, N_FINE).probe
    assert (probe.n_probe, probe.threshold) == (N_FINE, -math.inf)


def test_the_default_spends_its_budget_and_reaches_at_least_095():
    deep = default_plan(curve(), 10, 1.0, N_ROWS, N_FINE)
    assert deep.clusters > plan(curve(), 0.95, 10, 1.0, N_ROWS, N_FINE).clusters
    assert expected_recall(curve(), deep.probe, 10) > 0.95
    wide = default_plan(curve(), 10, 1.0, 100_000_000, N_FINE)
    assert wide == plan(curve(), 0.95, 10, 1.0, 100_000_000, N_FINE)
    small = default_plan(curve(), 10, 1.0, 100, 10)
    assert (small.probe.n_probe, small.probe.threshold) == (10, -math.inf)


def test_the_climb_stops_when_recall_is_enough_and_takes_smaller_strides_where_it_is_steep():
    def ask(threshold):
        steep = math.exp(-11.0 * (threshold + 0.2))
        return Point(10, 1.5, threshold, steep, min(1.0, 0.5 - threshold), 1.0)

    points = climb(ask, N_FINE)
    thresholds = [point.threshold for point in points]
    assert points[-1].recall >= 0.9985 or points[-1].clusters >= N_FINE
    assert all(point.recall < 0.9985 for point in points[:-1])
    strides = [a - b for a, b in itertools.pairwise(thresholds)]
    assert strides[0] == pytest.approx(0.1)
    assert strides[-1] == pytest.approx(0.05)


def test_the_router():
    asked = {"recall": 0.95, "n_probe": None, "lod": 1, "n_fine": N_FINE, "dimension": 384}
    whole = choose(curve(), 100_000, 100_000, 10, **asked)
    assert whole.kind == "probe"
    half = choose(curve(), 100_000, 50_000, 10, **asked)
    assert half.probe.n_candidates > whole.probe.n_candidates
    assert half.probe.share == 0.5
    assert choose(curve(), 100_000, 200, 10, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 50_000, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 8, 10, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 10, **{**asked, "lod": 2}).kind == "exact"
    assert choose(curve(), 100_000, 90, 10, **{**asked, "lod": 2}).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 10, **{**asked, "recall": 0.999}).kind == "exact"
    empty = Curve(N_FINE, 0, 0, [])
    assert choose(empty, 100_000, 100_000, 10, **asked).kind == "exact"
    assert plan(empty, 0.9, 10, 1.0, N_ROWS, N_FINE).clusters == N_FINE
    forced = choose(curve(), 100_000, 100_000, 10, **{**asked, "n_probe": 7})
    assert forced.probe == probe_of(7, forced.probe.epsilon, N_FINE)


@pytest.mark.parametrize("share", [1.0, 0.5, 0.01])
def test_the_default_probes_by_promise_where_measuring_ended_early(share):
    """Easy queries reach all there is within few clusters; what a filter leaves may lie far."""
    points = [
        Point(k, epsilon, threshold, clusters, recall, clusters)
        for k in (10, 100)
        for epsilon in EPSILONS
        for threshold, clusters, recall in ((-0.2, 4.0, 0.98), (-0.4, 20.0, 0.9999))
    ]
    probe = default_plan(Curve(1000, 100_000, 128, points), 10, share, 100_000, 1000).probe
    assert probe.n_probe == 1000
    assert probe.threshold == -0.4
