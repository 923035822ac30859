"""How long each setting is measured, and what counts of it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from m2m_rag.bench import measure as measuring
from m2m_rag.bench.base import Method
from m2m_rag.bench.data import DataSet
from m2m_rag.bench.measure import LEAST_S, build_all, measure

N_QUERIES, K = 4, 2


class Sleeper(Method):
    """Takes `search_s` for a search, asleep, and finds what is right for all but query 0."""

    name = "sleeper"
    distribution = None
    search_s = 0.0

    def __init__(self, search_s):
        super().__init__("ip", K, 1)
        self.search_s, self.n_searches, self.n_batches = search_s, 0, 0

    def warm_up(self, vectors):
        pass

    def build(self, vectors):
        pass

    def parameters(self):
        return {}

    def n_bytes(self):
        return None

    def settings(self):
        return [{}]

    def use(self, setting):
        pass

    def search(self, query):
        self.n_searches += 1
        time.sleep(self.search_s)
        return np.array([0, 9 if query[0] == 0 else 1])

    def search_batch(self, queries):
        self.n_batches += 1
        return np.stack([self.search(query) for query in queries])


@pytest.fixture
def data():
    queries = np.arange(N_QUERIES, dtype=np.float32)[:, None]
    truth = np.tile([0, 1], (N_QUERIES, 1))
    return DataSet("odd", "ip", queries, queries, truth, {})


def sample_of(method, data, n_rounds=1):
    (sample,) = measure(
        build_all([method], data, lambda text: None), data, n_rounds, with_batch=True,
        say=lambda text: None,
    )  # fmt: skip
    return sample


def test_a_fast_setting_is_asked_until_enough_time_has_passed(data):
    method = Sleeper(0.001)
    sample = sample_of(method, data)
    assert method.n_batches > 2
    assert len(sample.latencies_s) % N_QUERIES == 0
    assert sample.latencies_s.sum() >= 0.9 * LEAST_S
    row = sample.row()
    assert row["recall"] == row["batch_recall"] == pytest.approx(7 / 8)
    assert 10 < row["qps_wall"] < 1000
    assert 10 < row["batch_qps_wall"] < 1000
    assert row["p50_us"] >= 1000
    assert row["qps_cpu"] > row["qps_wall"]


def test_a_slow_setting_is_asked_once_a_round(data):
    method = Sleeper(LEAST_S / N_QUERIES)
    sample = sample_of(method, data, n_rounds=2)
    assert method.n_batches == 2
    assert len(sample.latencies_s) == N_QUERIES
    assert sample.row()["batch_qps_wall"] <= N_QUERIES / LEAST_S


def test_the_best_round_counts(data, monkeypatch):
    monkeypatch.setattr(measuring, "LEAST_S", 0.0)
    method = Sleeper(0.02)
    built = build_all([method], data, lambda text: None)

    def faster(text):
        method.search_s /= 4

    (sample,) = measure(built, data, 2, with_batch=False, say=faster)
    assert 1250 <= sample.row()["p50_us"] < 5000  # the first round's
