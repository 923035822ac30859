"""Maximal marginal relevance is LangChain's, in content and order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from langchain_m2m import M2MVectorStore

Make = Callable[..., M2MVectorStore]
LAMBDAS = [0.0, 0.25, 0.5, 0.9, 1.0]


def _filled(store: M2MVectorStore, n: int, seed: int) -> np.ndarray[Any, Any]:
    """Clustered vectors, so that diversity matters; no two candidates tie."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(6, 8))
    vectors = (centres[rng.integers(6, size=n)] + 0.3 * rng.normal(size=(n, 8))).astype(np.float32)
    store.add_embeddings(
        [(f"text {row}", vector.tolist()) for row, vector in enumerate(vectors)],
        [{"even": row % 2 == 0} for row in range(n)],
        ids=[str(row) for row in range(n)],
    )
    return vectors


def _langchain(
    store: M2MVectorStore,
    vectors: np.ndarray[Any, Any],
    query: np.ndarray[Any, Any],
    *,
    k: int,
    fetch_k: int,
    lambda_mult: float,
    chosen: Any = None,
) -> list[str]:
    candidates = [
        int(document.id or -1)
        for document in store.similarity_search_by_vector(query.tolist(), fetch_k, chosen)
    ]
    order = maximal_marginal_relevance(
        query, [vectors[row].tolist() for row in candidates], lambda_mult, k
    )
    return [str(candidates[position]) for position in order]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10_000),
    k=st.integers(1, 12),
    fetch_k=st.integers(1, 40),
    lambda_mult=st.sampled_from(LAMBDAS),
    metric=st.sampled_from(["cosine", "dot", "l2"]),
)
def test_equals_langchain(seed: int, k: int, fetch_k: int, lambda_mult: float, metric: Any) -> None:
    with M2MVectorStore(metric=metric) as store:
        vectors = _filled(store, 60, seed)
        query = np.random.default_rng(seed + 1).normal(size=8).astype(np.float32)
        options: dict[str, Any] = {"k": k, "fetch_k": fetch_k, "lambda_mult": lambda_mult}
        found = store.max_marginal_relevance_search_by_vector(query.tolist(), **options)
        assert [d.id for d in found] == _langchain(store, vectors, query, **options)


@pytest.mark.parametrize("lambda_mult", LAMBDAS)
@pytest.mark.parametrize("chosen", [{"even": True}, lambda d: d.metadata["even"]])
def test_filter_comes_before_the_choice(make: Make, chosen: Any, lambda_mult: float) -> None:
    store = make()
    vectors = _filled(store, 80, 3)
    query = np.random.default_rng(4).normal(size=8).astype(np.float32)
    options: dict[str, Any] = {"k": 6, "fetch_k": 15, "lambda_mult": lambda_mult}
    found = store.max_marginal_relevance_search_by_vector(query, filter=chosen, **options)
    assert [d.id for d in found] == _langchain(store, vectors, query, chosen=chosen, **options)
    assert len(found) == 6
    assert all(d.metadata == {"even": True} for d in found)


def test_one_ranks_by_similarity_and_zero_by_difference(store: M2MVectorStore) -> None:
    store.add_texts(["red fox", "red fox runs", "red fox sleeps", "grey stone"])
    near = store.max_marginal_relevance_search("red fox", k=3, lambda_mult=1.0)
    assert [d.page_content for d in near] == [
        d.page_content for d in store.similarity_search("red fox", k=3)
    ]
    far = store.max_marginal_relevance_search("red fox", k=2, lambda_mult=0.0)
    assert [d.page_content for d in far] == ["red fox", "grey stone"]


def test_scores_are_those_of_the_search(store: M2MVectorStore) -> None:
    store.add_texts(["red fox", "red fox runs", "grey stone"])
    plain = {d.id: score for d, score in store.similarity_search_with_score("red fox")}
    found = store.max_marginal_relevance_search_with_score("red fox", k=3, lambda_mult=0.1)
    assert {d.id: score for d, score in found} == plain
    assert [d.page_content for d, _ in found] != [
        d.page_content for d in store.similarity_search("red fox")
    ]


def test_function_filter_that_keeps_nothing(store: M2MVectorStore) -> None:
    assert store.max_marginal_relevance_search("red fox") == []
    store.add_texts(["red fox"])
    assert store.max_marginal_relevance_search("red fox", filter=lambda d: False) == []
