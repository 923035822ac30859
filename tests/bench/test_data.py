"""Data sets: what a folder may hold, and rows made from a seed."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag.bench import data
from m2m_rag.bench.data import load, repeat, synthesise
from m2m_rag.errors import InvalidInputError

K = 5


def brute_force(base, queries, metric):
    answers = []
    for query in queries:
        score = base @ query if metric == "ip" else -((base - query) ** 2).sum(axis=1)
        answers.append(np.argsort(-score, kind="stable")[:K])
    return np.stack(answers)


@pytest.fixture
def vectors():
    generator = np.random.default_rng(1)
    return generator.normal(size=(200, 8)), generator.normal(size=(7, 8))


@pytest.mark.parametrize(("suffix", "metric"), [("_f16", "ip"), ("", "l2")])
def test_a_folder_without_ground_truth_has_it_computed(tmp_path, vectors, suffix, metric):
    for name, array in zip(("base", "query"), vectors, strict=True):
        np.save(tmp_path / f"{name}{suffix}.npy", array.astype(np.float16))
    found = load(tmp_path, K, 6)
    assert (found.name, found.metric) == (tmp_path.name, metric)
    assert found.base.shape == (200, 8)
    assert found.queries.shape == (6, 8)
    for array in (found.base, found.queries):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        if metric == "ip":
            np.testing.assert_allclose(np.linalg.norm(array, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.truth, brute_force(found.base, found.queries, metric))
    assert found.origin["ground_truth"] == "computed exactly"


def test_a_folders_ground_truth_is_used_when_it_is_wide_enough(tmp_path, vectors):
    np.save(tmp_path / "base.npy", vectors[0])
    np.save(tmp_path / "query.npy", vectors[1])
    np.save(tmp_path / "gt.npy", np.zeros((7, 100), np.int32))
    assert not load(tmp_path, K, 100).truth.any()
    np.save(tmp_path / "gt.npy", np.zeros((7, K - 1), np.int32))
    assert load(tmp_path, K, 100).truth.any()


def test_a_folder_that_is_no_data_set_is_refused(tmp_path, vectors):
    with pytest.raises(InvalidInputError, match=r"base.npy does not exist; a data set has"):
        load(tmp_path, K, 10)
    np.save(tmp_path / "base.npy", vectors[0])
    np.save(tmp_path / "query.npy", vectors[1][:, :3])
    with pytest.raises(InvalidInputError, match="200 rows of 8 numbers and queries of 3"):
        load(tmp_path, K, 10)
    np.save(tmp_path / "query.npy", np.full((2, 8), np.nan))
    with pytest.raises(InvalidInputError, match="finite"):
        load(tmp_path, K, 10)


def test_a_seed_gives_the_same_rows(monkeypatch):
    monkeypatch.setattr(data, "CHUNK", 64)
    first, second, other = (synthesise(300, 12, K, 9, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.base, second.base)
    np.testing.assert_array_equal(first.queries, second.queries)
    assert not np.array_equal(first.base, other.base)
    assert len(np.unique(first.base, axis=0)) == 300, "no chunk repeats another"
    np.testing.assert_allclose(np.linalg.norm(first.base, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(first.truth, brute_force(first.base, first.queries, "ip"))


def test_synthetic_rows_are_clustered():
    found = synthesise(2000, 64, K, 20)
    nearest = np.take_along_axis(found.queries @ found.base.T, found.truth, axis=1)
    assert nearest.mean() > 2 * np.abs(found.queries @ found.base.T).mean() + 0.2


@pytest.mark.parametrize(("n", "d"), [(4, 8), (100, 0)])
def test_too_little_is_refused(n, d):
    with pytest.raises(InvalidInputError, match="cannot make"):
        synthesise(n, d, K, 10)


def test_copies_are_the_rows_with_noise(tmp_path):
    rng = np.random.default_rng(0)
    base, queries = rng.normal(size=(40, 8)), rng.normal(size=(5, 8))
    np.save(tmp_path / "base.npy", base.astype(np.float32))
    np.save(tmp_path / "query.npy", queries.astype(np.float32))
    once = load(tmp_path, 3, 100)
    more = repeat(once, 3, 12)
    assert more.base.shape == (120, 8)
    assert more.queries.shape == (12, 8)
    assert (more.base[:40] == once.base).all()
    assert (more.queries[:5] == once.queries).all()
    off = (more.base[40:] - np.tile(once.base, (2, 1))).std() / once.base.std()
    assert off == pytest.approx(0.2, rel=0.1)
    distances = ((more.base[None] - more.queries[:, None]) ** 2).sum(axis=2)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :3]
    assert more.truth.tolist() == expected.tolist()
    assert (repeat(once, 3, 12).base == more.base).all()
