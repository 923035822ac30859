"""Adding and deleting: nothing is dropped, changed on the way, or wiped by accident."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import (
    InvalidFilterError,
    InvalidInputError,
    UnknownArgumentError,
)
from m2m_rag.filters import And, Compare

Make = Callable[..., M2MVectorStore]
TEXTS = ["red fox", "grey wolf", "brown bear"]


def test_generators_are_read_once_and_whole(store: M2MVectorStore) -> None:
    ids = store.add_texts(
        (text for text in TEXTS), ({"n": n} for n in range(3)), ids=(str(n) for n in range(3))
    )
    assert ids == ["0", "1", "2"]
    ids = store.add_documents(Document(text, id=text) for text in TEXTS)
    assert ids == TEXTS
    assert store.count() == 6


@pytest.mark.parametrize("n", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ["ids", "metadatas"])
def test_lengths_must_agree(store: M2MVectorStore, embedding: Any, name: str, n: int) -> None:
    values = [str(i) if name == "ids" else {"n": i} for i in range(n)]
    wrong: dict[str, Any] = {name: values}
    with pytest.raises(InvalidInputError, match=f"{n} {name} for 3 texts"):
        store.add_texts(TEXTS, **wrong)
    with pytest.raises(InvalidInputError, match=f"{n} {name} for 3 texts"):
        store.add_embeddings([(text, [1.0]) for text in TEXTS], **wrong)
    assert store.count() == 0
    assert embedding.embedded == []


def test_no_texts_is_no_write(store: M2MVectorStore) -> None:
    assert store.add_texts([]) == []
    assert store.add_documents(iter([])) == []
    assert store.add_embeddings([]) == []
    assert store.count() == 0


@pytest.mark.parametrize("bad", ["red fox", [Document("red fox")], ["red", None], [b"red"]])
def test_texts_must_be_strings_in_a_list(store: M2MVectorStore, bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="texts"):
        store.add_texts(bad)


def test_documents_must_be_documents(store: M2MVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="add_texts"):
        store.add_documents(["red fox"])  # type: ignore[list-item]


def test_none_ids_get_new_ones(store: M2MVectorStore) -> None:
    ids = store.add_texts(TEXTS, ids=[None, "wolf", None])
    assert ids[1] == "wolf"
    assert all(isinstance(given, str) and given for given in ids)
    assert len(set(ids)) == 3
    assert [d.page_content for d in store.get_by_ids(ids)] == TEXTS


def test_document_ids_and_missing_ones_mix(store: M2MVectorStore) -> None:
    documents = [Document("red fox", id="fox"), Document("grey wolf")]
    ids = store.add_documents(documents)
    assert ids[0] == "fox"
    assert documents[1].id is None
    assert store.add_documents(documents, ids=["a", "b"]) == ["a", "b"]


@pytest.mark.parametrize("given", ["1", "ü/€ \n", "a" * 512, "5e8f", " ", "id;DROP TABLE"])
def test_any_string_is_an_id(store: M2MVectorStore, given: str) -> None:
    store.add_texts(["red fox"], [{"k": "v"}], ids=[given])
    assert store.similarity_search("fox") == [Document("red fox", id=given, metadata={"k": "v"})]
    assert store.get_by_ids([given])[0].id == given
    store.delete([given])
    assert store.count() == 0


@pytest.mark.parametrize("given", ["", "a" * 513])
def test_ids_that_are_no_ids_are_refused(store: M2MVectorStore, given: str) -> None:
    with pytest.raises(InvalidInputError):
        store.add_texts(["red fox"], ids=[given])
    assert store.count() == 0


def test_same_id_replaces_the_whole_document(store: M2MVectorStore) -> None:
    store.add_texts(["red fox"], [{"colour": "red", "old": 1}], ids=["a"])
    store.add_texts(["grey wolf"], [{"colour": "grey"}], ids=["a"])
    assert store.get_by_ids(["a"]) == [Document("grey wolf", id="a", metadata={"colour": "grey"})]
    assert store.similarity_search("grey wolf", k=5)[0].page_content == "grey wolf"
    assert store.count() == 1


def test_last_duplicate_in_a_batch_wins(store: M2MVectorStore) -> None:
    assert store.add_texts(TEXTS, ids=["a", "b", "a"]) == ["a", "b", "a"]
    assert store.get_by_ids(["a"])[0].page_content == "brown bear"
    assert store.count() == 2


def test_inputs_are_never_changed(store: M2MVectorStore) -> None:
    metadatas: list[dict[str, Any]] = [{"a": {"b": [1, 2]}}, {}]
    documents = [Document("x", metadata=metadatas[0], id="1"), Document("y", metadata={})]
    before = copy.deepcopy((metadatas, documents))
    store.add_texts(["x", "y"], metadatas)
    store.add_documents(documents)
    assert (metadatas, documents) == before


def test_changing_an_input_later_changes_nothing_stored(store: M2MVectorStore) -> None:
    metadata: dict[str, Any] = {"tags": ["a"]}
    store.add_texts(["x"], [metadata], ids=["1"])
    metadata["tags"].append("b")
    assert store.get_by_ids(["1"])[0].metadata == {"tags": ["a"]}


def test_metadata_round_trips_exactly(store: M2MVectorStore) -> None:
    metadata = {"i": 1, "f": 1.0, "s": "é", "n": None, "l": [1, [2, {"x": True}]], "d": {"a": {}}}
    store.add_texts(["x"], [metadata], ids=["1"])
    found = store.similarity_search("x")[0].metadata
    assert found == metadata
    assert type(found["f"]) is float
    assert type(found["i"]) is int


def test_metadata_that_is_not_json_is_refused(store: M2MVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="when"):
        store.add_texts(["x", "y"], [{}, {"when": object()}])
    assert store.count() == 0


def test_metadata_may_be_none(store: M2MVectorStore) -> None:
    store.add_texts(["x", "y"], [None, {"a": 1}], ids=["1", "2"])
    assert [d.metadata for d in store.get_by_ids(["1", "2"])] == [{}, {"a": 1}]


def test_batches_are_embedded_and_committed_one_by_one(
    store: M2MVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = store.embeddings.embed_documents  # type: ignore[union-attr]
    sizes: list[tuple[int, int]] = []

    def counting(texts: list[str]) -> list[list[float]]:
        sizes.append((len(texts), store.count()))
        return embed(texts)

    monkeypatch.setattr(store.embeddings, "embed_documents", counting)
    assert len(store.add_texts([f"text {n}" for n in range(5)], batch_size=2)) == 5
    assert sizes == [(2, 0), (2, 2), (1, 4)]
    assert store.count() == 5


def test_failing_embedding_writes_nothing(
    store: M2MVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.embeddings, "embed_documents", lambda texts: [[1.0, 2.0]])
    with pytest.raises(InvalidInputError, match="1 vectors for 3 texts"):
        store.add_texts(TEXTS)
    assert store.count() == 0


@pytest.mark.parametrize("size", [0, -1, "2", 1.5, True])
def test_batch_size_must_be_a_positive_whole_number(store: M2MVectorStore, size: Any) -> None:
    with pytest.raises(InvalidInputError, match="batch_size"):
        store.add_texts(TEXTS, batch_size=size)
    assert store.count() == 0


@pytest.mark.parametrize("columns", [(None,), (5,), (TEXTS, 5), (TEXTS, None, 5)])
def test_what_is_no_column_is_refused(store: M2MVectorStore, columns: tuple[Any, ...]) -> None:
    texts, metadatas, ids = (*columns, None, None)[:3]
    with pytest.raises(InvalidInputError, match="expected a list"):
        store.add_texts(texts, metadatas, ids=ids)
    assert store.count() == 0


def test_unknown_arguments_are_refused(store: M2MVectorStore, embedding: Any) -> None:
    with pytest.raises(UnknownArgumentError, match=r"add_texts\(\).*'batch_size'"):
        store.add_texts(TEXTS, batchsize=3)
    with pytest.raises(
        UnknownArgumentError, match=r"add_documents\(\).*batch_size, documents, ids"
    ):
        store.add_documents([], metadata=[])
    with pytest.raises(UnknownArgumentError, match="'filter'"):
        store.delete(fliter={"a": 1})
    assert embedding.embedded == []


def test_delete_by_ids(store: M2MVectorStore) -> None:
    store.add_texts(TEXTS, ids=["1", "2", "3"])
    assert store.delete(["1", "unknown", "1"]) is True
    assert store.list_ids() == ["2", "3"]
    assert store.delete(given for given in ["2"]) is True
    assert store.list_ids() == ["3"]


def test_deleting_nothing_deletes_nothing(
    store: M2MVectorStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.delete(["1"]) is True
    store.add_texts(TEXTS)
    assert store.delete([]) is True
    assert store.delete([], filter={"a": {"$exists": False}}) is True
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        assert store.delete(None) is True
        assert store.delete() is True
    assert "delete_all=True" in caplog.text
    assert store.count() == 3


@pytest.mark.parametrize(
    "empty",
    [
        {},
        And(()),
        {"$and": []},
        {"$and": [{}]},
        {"$or": [{"a": 1}, {}]},
        {"$not": {"$or": []}},
        {"a": {"$nin": []}},
        {"$nor": []},
        {"a": {"$not": {"$any": []}}},
    ],
)
def test_filter_without_condition_never_wipes(store: M2MVectorStore, empty: Any) -> None:
    store.add_texts(TEXTS)
    with pytest.raises(InvalidInputError, match="delete_all=True"):
        store.delete(filter=empty)
    assert store.count() == 3


@pytest.mark.parametrize(
    "kept_out",
    [
        {"legs": {"$gte": 4}},
        Compare("legs", "gte", 4),
        lambda document: document.metadata["legs"] >= 4,
    ],
)
def test_delete_by_filter(store: M2MVectorStore, kept_out: Any) -> None:
    store.add_texts(TEXTS, [{"legs": 3}, {"legs": 4}, {"legs": 5}], ids=["3", "4", "5"])
    assert store.delete(["3", "4"], filter=kept_out) is True
    assert store.list_ids() == ["3", "5"]
    assert store.delete(filter=kept_out) is True
    assert store.list_ids() == ["3"]


def test_a_filter_that_may_be_true_for_some_is_a_condition(store: M2MVectorStore) -> None:
    store.add_texts(TEXTS, [{"tags": ["a"]}, {"tags": "a"}, {}], ids=["list", "text", "none"])
    store.delete(filter={"tags": {"$all": []}})
    assert store.list_ids() == ["text", "none"]


def test_bad_filter_deletes_nothing(store: M2MVectorStore) -> None:
    with pytest.raises(InvalidFilterError, match=r"\$gte"):
        store.delete(filter={"a": {"$gtee": 1}})


def test_delete_all_is_explicit_and_alone(store: M2MVectorStore) -> None:
    store.add_texts(TEXTS)
    mixtures: list[dict[str, Any]] = [{"ids": []}, {"filter": {"a": 1}}]
    for options in mixtures:
        with pytest.raises(InvalidInputError, match="neither"):
            store.delete(delete_all=True, **options)
    assert store.count() == 3
    assert store.delete(delete_all=True) is True
    assert store.count() == 0
    assert store.similarity_search("fox") == []


def test_one_string_is_not_a_list_of_ids(store: M2MVectorStore) -> None:
    store.add_texts(["red fox"], ids=["a"])
    for operation in (store.delete, store.get_by_ids):
        with pytest.raises(InvalidInputError, match=r"\['a'\]"):
            operation("a")
    with pytest.raises(InvalidInputError):
        store.add_texts(["x", "y"], ids="ab")
    assert store.count() == 1


def test_many_documents_in_one_call(store: M2MVectorStore) -> None:
    ids = store.add_texts([f"text {n}" for n in range(6000)])
    assert len(set(ids)) == 6000
    assert store.count() == 6000
    assert store.delete(ids[:5900]) is True
    assert store.count() == 100


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        (["a", "b", "c"], {"metadatas": [{}, {}, {"when": {1, 2}}]}),
        (["a", "b", "c"], {"ids": ["1", "2", ""]}),
        (["a", "b", "\ud800"], {}),
    ],
    ids=["metadata", "id", "text"],
)
async def test_what_cannot_be_stored_is_refused_before_anything_is_paid_or_written(
    store: M2MVectorStore, embedding: Any, texts: list[str], options: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError):
        store.add_texts(texts, batch_size=1, **options)
    with pytest.raises(InvalidInputError):
        await store.aadd_texts(texts, batch_size=1, **options)
    assert embedding.embedded == embedding.awaited == []
    assert store.count() == 0


async def test_coroutine_filter_deletes_nothing(store: M2MVectorStore) -> None:
    async def never(document: Document) -> bool:
        return False

    store.add_texts(TEXTS)
    with pytest.raises(InvalidInputError, match="awaitable"):
        store.delete(filter=never)
    with pytest.raises(InvalidInputError, match="awaitable"):
        await store.asimilarity_search("red", filter=lambda document: never(document))
    assert store.count() == len(TEXTS)
