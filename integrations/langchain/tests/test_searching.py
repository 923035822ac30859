"""Searching: right documents, right order, one direction of scores, every form of filter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import (
    DimensionError,
    InvalidFilterError,
    InvalidInputError,
    UnknownArgumentError,
)
from m2m_rag.filters import Compare

Make = Callable[..., M2MVectorStore]


def test_empty_store_finds_nothing(store: M2MVectorStore) -> None:
    assert store.similarity_search("fox") == []
    assert store.similarity_search_with_score("fox") == []
    assert store.similarity_search_by_vector([1.0]) == []
    assert store.similarity_search_with_relevance_scores("fox", score_threshold=0.5) == []


def test_a_function_filter_misses_no_document() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(20_000, 64)).astype(np.float32)
    fitting = np.arange(3, len(vectors), 7)
    units = vectors[fitting] / np.linalg.norm(vectors[fitting], axis=1, keepdims=True)

    def keep(document: Document) -> bool:
        return bool(document.metadata["row"] % 7 == 3)

    with M2MVectorStore() as store:
        ids = [str(row) for row in range(len(vectors))]
        store.collection.add(vectors, ids=ids, metadatas=[{"row": int(row)} for row in ids])
        assert store.collection.wait_for_index(120)
        for query in rng.normal(size=(100, 64)).astype(np.float32):
            found = store.similarity_search_by_vector(query, 4, keep)
            best = fitting[np.argsort(-(units @ query), kind="stable")[:4]]
            assert [document.id for document in found] == [ids[row] for row in best]


@pytest.mark.parametrize("k", [0, "2", 1.5, None])
@pytest.mark.parametrize("chosen", [{"a": 1}, lambda document: True])
def test_k_is_a_positive_whole_number(store: M2MVectorStore, k: Any, chosen: Any) -> None:
    store.add_texts(["red fox"], [{"a": 1}])
    with pytest.raises(InvalidInputError, match="k:"):
        store.similarity_search("red fox", k, chosen)
    with pytest.raises(InvalidInputError, match="fetch_k:"):
        store.max_marginal_relevance_search("red fox", fetch_k=k, filter=chosen)


def test_hits_are_whole_documents(store: M2MVectorStore) -> None:
    store.add_texts(["red fox", "grey wolf"], [{"a": 1}, {}], ids=["f", "w"])
    assert store.similarity_search("red fox", k=2) == [
        Document("red fox", id="f", metadata={"a": 1}),
        Document("grey wolf", id="w"),
    ]


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_scores_are_similarities_best_first(make: Make, metric: str) -> None:
    store = make(metric=metric)
    rng = np.random.default_rng(5)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    store.add_embeddings(
        [(str(n), vector.tolist()) for n, vector in enumerate(vectors)], ids=map(str, range(50))
    )
    query = rng.normal(size=8).astype(np.float32)
    expected = {
        "cosine": vectors @ query / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)),
        "dot": vectors @ query,
        "l2": -np.linalg.norm(vectors - query, axis=1),
    }[metric]
    found = store.similarity_search_with_score_by_vector(query.tolist(), k=50)
    assert [int(d.id or -1) for d, _ in found] == np.argsort(-expected, kind="stable").tolist()
    assert [s for _, s in found] == pytest.approx(sorted(expected, reverse=True), rel=1e-4)
    assert store.score_kind == "similarity"


def test_vectors_may_be_lists_or_arrays(make: Make) -> None:
    store = make()
    store.add_embeddings([("east", np.array([1, 0], np.float32)), ("north", [0.0, 1.0])])
    for vector in ([0.0, 1.0], (0, 1), np.array([0, 1], np.float32), np.array([0.0, 1.0])):
        assert store.similarity_search_by_vector(vector, k=1)[0].page_content == "north"
        assert store.similarity_search_with_score_by_vector(vector, 1)[0][1] == 1.0


def test_by_question_equals_by_vector(store: M2MVectorStore, embedding: Any) -> None:
    store.add_texts(["red fox", "grey wolf", "red bear"])
    vector = embedding.embed_query("red")
    assert store.similarity_search("red") == store.similarity_search_by_vector(vector)
    assert store.similarity_search_with_score(
        "red"
    ) == store.similarity_search_with_score_by_vector(vector)


def test_changing_a_hit_changes_nothing_stored(store: M2MVectorStore) -> None:
    store.add_texts(["red fox"], [{"tags": ["a"], "deep": {"x": 1}}], ids=["f"])
    for hit in (
        store.similarity_search("fox")[0],
        store.max_marginal_relevance_search("fox")[0],
        store.get_by_ids(["f"])[0],
        next(store.iter_documents()),
    ):
        hit.metadata["tags"].append("b")
        hit.metadata["deep"]["x"] = 2
        hit.metadata["new"] = True
        hit.page_content = "changed"
    expected = Document("red fox", id="f", metadata={"tags": ["a"], "deep": {"x": 1}})
    assert store.similarity_search("fox") == [expected]


@pytest.fixture
def numbered(store: M2MVectorStore) -> M2MVectorStore:
    """600 documents; those whose number is a multiple of 120 are far from the question."""
    texts = [f"stone {n}" if n % 120 == 0 else f"river water {n}" for n in range(600)]
    metadatas = [{"n": n, "kind": "rare" if n % 120 == 0 else "common"} for n in range(600)]
    store.add_texts(texts, metadatas, ids=[str(n) for n in range(600)])
    return store


RARE: list[Any] = [
    {"kind": "rare"},
    {"$not": {"kind": {"$in": ["common"]}}},
    Compare("kind", "eq", "rare"),
    lambda document: document.metadata["kind"] == "rare",
]


@pytest.mark.parametrize("rare", RARE)
def test_k_matches_give_k_hits_at_any_selectivity(numbered: M2MVectorStore, rare: Any) -> None:
    hits = numbered.similarity_search("river water", k=5, filter=rare)
    assert sorted(int(d.id or -1) for d in hits) == [0, 120, 240, 360, 480]
    assert len(numbered.similarity_search("river water", k=3, filter=rare)) == 3
    assert len(numbered.similarity_search("river water", k=9, filter=rare)) == 5


@pytest.mark.parametrize("k", [1, 4, 70, 299, 300, 301])
def test_function_filter_is_exact(numbered: M2MVectorStore, k: int) -> None:
    ranked = numbered.similarity_search_with_score("river water 7", k=600)
    expected = [(d.id, s) for d, s in ranked if d.metadata["n"] % 2][:k]
    found = numbered.similarity_search_with_score(
        "river water 7", k, lambda document: document.metadata["n"] % 2
    )
    assert [(d.id, s) for d, s in found] == expected


def test_filter_is_taken_everywhere(numbered: M2MVectorStore, embedding: Any) -> None:
    vector = embedding.embed_query("river")
    only = {"n": 360}
    found = [
        numbered.similarity_search("river", filter=only),
        numbered.similarity_search_by_vector(vector, filter=only),
        [d for d, _ in numbered.similarity_search_with_score("river", filter=only)],
        [d for d, _ in numbered.similarity_search_with_score_by_vector(vector, filter=only)],
        [d for d, _ in numbered.similarity_search_with_relevance_scores("river", filter=only)],
        numbered.max_marginal_relevance_search("river", filter=only),
        numbered.max_marginal_relevance_search_by_vector(vector, filter=only),
        numbered.search("river", "similarity", filter=only),
        numbered.as_retriever(search_kwargs={"filter": only}).invoke("river"),
    ]
    assert [[d.id for d in documents] for documents in found] == [["360"]] * len(found)


def test_dates_come_back_and_can_be_filtered(store: M2MVectorStore) -> None:
    now = datetime.now()
    seen = [now - timedelta(days=1), now, now.astimezone(UTC), now.date()]
    store.add_texts(["fox"] * 4, [{"seen": moment} for moment in seen], ids=list("abcd"))
    assert [d.metadata["seen"] for d in store.similarity_search("fox")] == seen
    assert [d.id for d in store.similarity_search("fox", filter={"seen": {"$gte": now}})] == ["b"]
    assert store.list_ids(lambda document: document.metadata["seen"] == now) == ["b"]
    updated = Document("fox", metadata={"seen": [now]})
    store.update_documents(["a"], [updated])
    assert store.list_ids({"seen": {"$contains": now}}) == ["a"]


def test_bad_filters_raise_even_in_an_empty_store(make: Make, embedding: Any) -> None:
    store = make(embedding)
    with pytest.raises(InvalidFilterError, match=r"\$gte"):
        store.similarity_search("fox", filter={"n": {"$gtee": 1}})
    with pytest.raises(InvalidFilterError):
        store.max_marginal_relevance_search("fox", filter="n > 1")  # type: ignore[arg-type]


def test_unknown_arguments_are_refused_before_the_embedding_is_paid_for(
    store: M2MVectorStore, embedding: Any
) -> None:
    store.add_texts(["red fox"])
    with pytest.raises(UnknownArgumentError, match=r"similarity_search\(\).*'filter'"):
        store.similarity_search("fox", fliter={"a": 1})
    with pytest.raises(UnknownArgumentError, match="'fetch_k'"):
        store.max_marginal_relevance_search("fox", fetchk=3)
    with pytest.raises(UnknownArgumentError, match="where"):
        store.similarity_search_with_relevance_scores("fox", where={})
    assert embedding.questions == 0


def test_wrong_dimension_is_named(store: M2MVectorStore) -> None:
    store.add_texts(["red fox"])
    with pytest.raises(DimensionError, match="64"):
        store.similarity_search_by_vector([1.0, 2.0])
    with pytest.raises(DimensionError, match="64"):
        store.add_embeddings([("x", [1.0, 2.0])])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(make: Make, bad: float) -> None:
    store = make()
    with pytest.raises(InvalidInputError):
        store.add_embeddings([("x", [1.0, bad])])
    store.add_embeddings([("x", [1.0, 0.0])])
    with pytest.raises(InvalidInputError):
        store.similarity_search_by_vector([bad, 1.0])
    assert store.count() == 1


@pytest.mark.parametrize("filter", [None, lambda document: True])
def test_several_vectors_are_refused(store: M2MVectorStore, filter: Any) -> None:
    store.add_texts(["red fox"])
    with pytest.raises(InvalidInputError, match="2 dimensions"):
        store.similarity_search_by_vector([[1.0] * 64], filter=filter)  # type: ignore[list-item]
