"""The contract of a method, held by every library that is installed."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from m2m_rag.bench.data import synthesise
from m2m_rag.bench.measure import recall_at_k
from m2m_rag.bench.registry import DEFAULT_PEERS, METHODS, PEERS, make_methods
from m2m_rag.cli.bench import PEERS as PEERS_BY_DEFAULT
from m2m_rag.errors import InvalidInputError, MissingExtraError

K = 5
LOW = 0.9
"""Each method's widest setting finds nearly all of 500 rows' neighbours; usearch-i8 the fewest."""
PACKAGES = {
    "faiss-hnsw": "faiss", "faiss-ivfpqfs": "faiss", "faiss-ivfrabitqfs": "faiss", "svs": "svs",
    "scann": "scann", "hnswlib": "hnswlib", "usearch": "usearch.index",
    "usearch-f16": "usearch.index", "usearch-i8": "usearch.index",
}  # fmt: skip


@pytest.fixture(scope="module")
def unit_data():
    return synthesise(500, 16, K, 20, seed=3)


@pytest.mark.parametrize("metric", ["ip", "l2"])
@pytest.mark.parametrize("name", METHODS)
def test_the_contract(name, metric, unit_data):
    methods, missing = make_methods([name] * (name != "m2m"), metric, K, 1, skip_missing=True)
    if missing:
        pytest.skip(f"{PACKAGES[name]} is missing: pip install 'm2m-rag[bench]'")
    method = next(one for one in methods if one.name == name)
    # For rows of unit length both metrics have the same answers.
    method.warm_up(unit_data.base)
    method.build(unit_data.base)
    settings = method.settings()
    assert settings
    assert all(settings.count(setting) == 1 for setting in settings)
    method.use(settings[-1])
    one_by_one = [method.search(query) for query in unit_data.queries]
    assert all(len(rows) == K for rows in one_by_one)
    assert recall_at_k(one_by_one, unit_data.truth) >= LOW
    together = list(method.search_batch(unit_data.queries))
    assert recall_at_k(together, unit_data.truth) >= LOW
    assert isinstance(method.parameters(), dict)
    size = method.n_bytes()
    if size is None:
        assert name == "scann"
    else:
        assert 0 <= size.index_bytes < size.total_bytes


def test_an_unknown_peer_is_named():
    with pytest.raises(InvalidInputError, match="no peer 'hnswlb'.*Did you mean 'hnswlib'"):
        make_methods(["hnswlb"], "ip", K, 1, skip_missing=True)
    with pytest.raises(InvalidInputError, match="no peer 'm2m'"):
        make_methods(["m2m"], "ip", K, 1, skip_missing=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_peer_names_its_extra_or_is_listed(name, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    with pytest.raises(MissingExtraError, match=r"pip install 'm2m-rag\[bench\]'"):
        make_methods([name], "ip", K, 1, skip_missing=False)
    methods, missing = make_methods([name], "ip", K, 1, skip_missing=True)
    assert missing == [name]
    assert [method.name for method in methods] == ["m2m"]


def test_a_dimension_that_product_codes_cannot_take_is_refused():
    pytest.importorskip("faiss", reason="faiss is missing: pip install 'm2m-rag[bench]'")
    methods, _ = make_methods(["faiss-ivfpqfs"], "ip", K, 1, skip_missing=False)
    with pytest.raises(InvalidInputError, match="cannot take 15"):
        methods[1].build(np.ones((20, 15), dtype=np.float32))


def test_names_agree():
    assert set(PACKAGES) | {"linear"} == set(PEERS)
    assert tuple(PEERS_BY_DEFAULT.split(",")) == DEFAULT_PEERS
    for name in METHODS:
        methods, _ = make_methods([name] * (name != "m2m"), "ip", K, 1, skip_missing=True)
        assert {method.name for method in methods} <= {name, "m2m"}
