"""Calibration and router: pure plans, tested on made-up curves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m_rag.index.hrm2.calibration import (
    EPSILONS,
    Curve,
    Point,
    default_probe,
    depths,
    expected_recall,
    plan,
    probe_of,
)
from m2m_rag.index.hrm2.router import choose

N_FINE = 1000


def curve(ks=(10, 100)):
    """Recall 1 - 0.5 / n_probe^(1/2), a little less with a smaller epsilon."""
    points = [
        Point(k, n, epsilon, 1 - 0.5 * (k / 10) ** 0.2 / n**0.5 - 0.01 / epsilon, 20 + n + epsilon)
        for k in ks
        for epsilon in EPSILONS
        for n in depths(N_FINE)
    ]
    return Curve(N_FINE, 100_000, 0, points)


@given(st.floats(0.5, 0.97), st.sampled_from([1, 10, 30, 100, 1000]))
def test_a_higher_target_probes_no_less(recall, k):
    low, high = plan(curve(), recall, k, N_FINE), plan(curve(), recall + 0.01, k, N_FINE)
    assert 1 <= low.n_probe <= high.n_probe <= N_FINE
    assert low.n_candidates >= low.n_probe


@given(st.floats(0.5, 0.97))
def test_the_plan_reaches_its_target(recall):
    probe = plan(curve(), recall, 10, N_FINE)
    assert expected_recall(curve(), probe, 10) >= recall - 0.005


def test_more_results_and_more_clusters_take_more_probes():
    assert plan(curve(), 0.9, 100, N_FINE).n_probe > plan(curve(), 0.9, 10, N_FINE).n_probe
    assert plan(curve(), 0.9, 10, 2 * N_FINE).n_probe == pytest.approx(
        2 * plan(curve(), 0.9, 10, N_FINE).n_probe, abs=2
    )


def test_an_unreachable_target_probes_everything():
    assert plan(curve(), 0.99999, 10, N_FINE).n_probe == N_FINE


def test_the_default_spends_its_budget_and_reaches_at_least_095():
    deep = default_probe(curve(), 10, 1.0, 100_000, N_FINE)
    assert deep.n_probe > plan(curve(), 0.95, 10, N_FINE).n_probe
    wide = default_probe(curve(), 10, 1.0, 100_000_000, N_FINE)
    assert wide == plan(curve(), 0.95, 10, N_FINE)


def test_the_router():
    asked = {"recall": 0.95, "n_probe": None, "lod": 1, "n_fine": N_FINE}
    whole = choose(curve(), 100_000, 100_000, 10, **asked)
    assert whole.kind == "probe"
    half = choose(curve(), 100_000, 50_000, 10, **asked)
    assert half.probe.n_probe > whole.probe.n_probe
    assert choose(curve(), 100_000, 200, 10, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 50_000, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 8, 10, **asked).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 10, **{**asked, "lod": 2}).kind == "exact"
    assert choose(curve(), 100_000, 90, 10, **{**asked, "lod": 2}).kind == "chosen"
    assert choose(curve(), 100_000, 100_000, 10, **{**asked, "recall": 0.999}).kind == "exact"
    empty = Curve(N_FINE, 0, 0, [])
    assert choose(empty, 100_000, 100_000, 10, **asked).kind == "exact"
    assert plan(empty, 0.9, 10, N_FINE).n_probe == N_FINE
    forced = choose(curve(), 100_000, 100_000, 10, **{**asked, "n_probe": 7})
    assert forced.probe == probe_of(7, forced.probe.epsilon, N_FINE)
