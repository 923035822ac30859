"""Relevance: in [0, 1] and in the order of the search, for every metric and vector length."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_m2m import M2MVectorStore

Make = Callable[..., M2MVectorStore]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    metric=st.sampled_from(["cosine", "dot", "l2"]),
    length=st.sampled_from([1e-6, 0.1, 1.0, 10.0, 1e6]),
    same_length=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_in_the_unit_interval_and_in_order(
    metric: Any, length: float, same_length: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(30, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= length if same_length else length * rng.uniform(0, 2, size=(30, 1))
    vectors[0] = 0.0
    query = (vectors[3] if seed % 2 else -vectors[3]).tolist()
    with M2MVectorStore(lambda text: query, metric=metric) as store:
        store.add_embeddings(
            [(str(row), vector.tolist()) for row, vector in enumerate(vectors)],
            ids=[str(row) for row in range(30)],
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = store.similarity_search_with_relevance_scores("q", k=30)
        plain = store.similarity_search_with_score("q", k=30)
    values = [value for _, value in found]
    assert [d.id for d, _ in found] == [d.id for d, _ in plain]
    assert len(found) == 30
    assert all(0.0 <= value <= 1.0 for value in values)
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_best_hit_survives_the_threshold(make: Make, embedding: Any, metric: str) -> None:
    store = make(embedding, metric=metric)
    store.add_texts(["red fox", "red wolf", "grey stone"])
    scored = store.similarity_search_with_relevance_scores("red fox", k=3)
    best, second, third = (value for _, value in scored)
    assert best > second > third
    kept = store.similarity_search_with_relevance_scores(
        "red fox", k=3, score_threshold=(second + best) / 2
    )
    assert [d.page_content for d, _ in kept] == ["red fox"]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
async def test_threshold_retriever_sync_and_async(make: Make, embedding: Any, metric: str) -> None:
    store = make(embedding, metric=metric)
    store.add_texts(["red fox", "red wolf", "grey stone"])
    threshold = store.similarity_search_with_relevance_scores("red fox", k=2)[1][1]
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": threshold}
    )
    expected = ["red fox", "red wolf"]
    assert [d.page_content for d in retriever.invoke("red fox")] == expected
    assert [d.page_content for d in await retriever.ainvoke("red fox")] == expected
    found = await store.asimilarity_search_with_relevance_scores("red fox", k=3)
    assert found == store.similarity_search_with_relevance_scores("red fox", k=3)


def test_own_relevance_function_is_used(make: Make, embedding: Any) -> None:
    store = make(embedding, relevance_score_fn=lambda score: 0.25 if score > 0.5 else 0.125)
    store.add_texts(["red fox", "grey stone"])
    found = store.similarity_search_with_relevance_scores("red fox")
    assert [value for _, value in found] == [0.25, 0.125]
