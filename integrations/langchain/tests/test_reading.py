"""Reading without a question: by id, counting, listing, iterating, under every kind of filter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import Compare

FILTERS: list[Any] = [
    {"n": {"$lt": 3}},
    Compare("n", "lt", 3),
    lambda document: document.metadata["n"] < 3,
]


@pytest.fixture
def filled(store: M2MVectorStore) -> M2MVectorStore:
    store.add_texts(
        [f"text {n}" for n in range(600)],
        [{"n": n, "tags": [n]} for n in range(600)],
        ids=[str(n) for n in range(600)],
    )
    return store


def test_get_by_ids_keeps_order_skips_unknown_repeats_duplicates(filled: M2MVectorStore) -> None:
    found = filled.get_by_ids(["3", "unknown", "1", "3"])
    assert [d.id for d in found] == ["3", "1", "3"]
    assert filled.get_by_ids([]) == []
    found[0].metadata["tags"].append("changed")
    assert found[2].metadata == {"n": 3, "tags": [3]}
    assert filled.get_by_ids(["3"])[0].metadata == {"n": 3, "tags": [3]}


def test_empty_store_reads_empty(store: M2MVectorStore) -> None:
    assert store.get_by_ids(["a"]) == []
    assert store.list_ids() == []
    assert list(store.iter_documents()) == []
    assert store.count({"a": 1}) == store.count() == len(store) == 0


@pytest.mark.parametrize("chosen", FILTERS)
def test_every_filter_form_reads_the_same(filled: M2MVectorStore, chosen: Any) -> None:
    assert filled.count(chosen) == 3
    assert filled.list_ids(chosen) == ["0", "1", "2"]
    assert [d.id for d in filled.iter_documents(chosen)] == ["0", "1", "2"]


def test_without_filter_everything_is_read_in_order(filled: M2MVectorStore) -> None:
    expected = [str(n) for n in range(600)]
    assert len(filled) == filled.count() == 600
    assert filled.list_ids() == expected
    assert [d.id for d in filled.iter_documents()] == expected
    assert [d.id for d in filled.iter_documents({"n": {"$gte": 0}})] == expected


def test_iterating_yields_whole_documents_lazily(filled: M2MVectorStore) -> None:
    documents = filled.iter_documents({"n": {"$gte": 5}})
    assert isinstance(documents, Iterator)
    assert next(documents) == Document("text 5", id="5", metadata={"n": 5, "tags": [5]})


def test_documents_deleted_while_iterating_are_left_out(filled: M2MVectorStore) -> None:
    documents = filled.iter_documents({"n": {"$gte": 0}})
    assert next(documents).id == "0"
    filled.delete([str(n) for n in range(500, 600)])
    assert len(list(documents)) == 499


def test_documents_that_do_not_match_any_more_are_left_out(filled: M2MVectorStore) -> None:
    documents = filled.iter_documents({"n": {"$lt": 600}})
    first = next(documents)
    changed = [{"n": 1000} for _ in range(600)]
    filled.collection.update([str(n) for n in range(600)], changed)
    found = [first, *documents]
    assert 1 <= len(found) < 600
    assert all(document.metadata["n"] < 600 for document in found)


def test_bad_filters_raise_even_in_an_empty_store(store: M2MVectorStore) -> None:
    for operation in (store.count, store.list_ids, store.iter_documents):
        with pytest.raises(InvalidFilterError, match=r"\$gte"):
            operation({"n": {"$gtee": 1}})


def test_records_without_text_read_as_empty_text(store: M2MVectorStore) -> None:
    store.collection.add([[1.0, 0.0]], ids=["v"], metadatas=[{"a": 1}])
    assert store.get_by_ids(["v"]) == [Document("", id="v", metadata={"a": 1})]


def test_replaced_document_is_listed_last(filled: M2MVectorStore) -> None:
    before = filled.list_ids()
    filled.add_texts(["written anew"], ids=before[:1])
    assert filled.list_ids() == [*before[1:], before[0]]
