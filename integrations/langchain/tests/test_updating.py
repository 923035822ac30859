"""`update_documents`: whole documents under existing ids, embedding only what changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import InvalidInputError, RecordNotFoundError


@pytest.fixture
def filled(store: M2MVectorStore, embedding: Any) -> M2MVectorStore:
    store.add_texts(["red fox", "grey wolf"], [{"v": 1, "old": True}, {"v": 1}], ids=["a", "b"])
    embedding.embedded.clear()
    return store


def test_only_changed_texts_are_embedded(filled: M2MVectorStore, embedding: Any) -> None:
    filled.update_documents(
        ["a", "b"],
        [Document("red fox", metadata={"v": 2}), Document("brown bear", metadata={"v": 3})],
    )
    assert embedding.embedded == ["brown bear"]
    assert filled.get_by_ids(["a", "b"]) == [
        Document("red fox", id="a", metadata={"v": 2}),
        Document("brown bear", id="b", metadata={"v": 3}),
    ]
    assert filled.similarity_search_with_score("red fox", k=1)[0][1] == pytest.approx(1.0)
    assert filled.similarity_search("bear", k=1)[0].id == "b"


async def test_async_twin_awaits_the_embedding(filled: M2MVectorStore, embedding: Any) -> None:
    await filled.aupdate_documents(["b"], [Document("brown bear")])
    assert embedding.embedded == []
    assert embedding.awaited == ["brown bear"]
    assert filled.get_by_ids(["b"]) == [Document("brown bear", id="b")]


def test_metadata_only_needs_no_embedding() -> None:
    with M2MVectorStore() as store:
        store.add_embeddings([("east", [1.0, 0.0])], ids=["e"])
        store.update_documents(["e"], [Document("east", metadata={"seen": True})])
        assert store.similarity_search_by_vector([1.0, 0.0])[0].metadata == {"seen": True}
        with pytest.raises(InvalidInputError, match="no embedding"):
            store.update_documents(["e"], [Document("west")])
        assert store.get_by_ids(["e"])[0].page_content == "east"


def test_unknown_ids_change_nothing(filled: M2MVectorStore, embedding: Any) -> None:
    with pytest.raises(RecordNotFoundError, match="'zzz'"):
        filled.update_documents(["a", "zzz"], [Document("x"), Document("y")])
    assert embedding.embedded == []
    assert filled.get_by_ids(["a"])[0].page_content == "red fox"
    assert filled.count() == 2


def test_unknown_ids_in_an_empty_store() -> None:
    with M2MVectorStore() as store, pytest.raises(RecordNotFoundError):
        store.update_documents(["a"], [Document("x")])


def test_lengths_must_agree(filled: M2MVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="2 ids for 1 texts"):
        filled.update_documents(["a", "b"], [Document("x")])


def test_nothing_to_update_is_fine(filled: M2MVectorStore) -> None:
    filled.update_documents([], [])
    assert filled.count() == 2


def test_weights_of_the_splats_stay(filled: M2MVectorStore) -> None:
    vectors = [[1.0] + [0.0] * 63, [0.0, 1.0] + [0.0] * 62]
    filled.collection.upsert(
        vectors,
        ids=["a", "b"],
        texts=["red fox", "grey wolf"],
        alphas=[2.0, 3.0],
        kappas=[9.0, 8.0],
    )
    filled.update_documents(["a", "b"], [Document("red fox", metadata={"x": 1}), Document("bear")])
    records = filled.collection.get(["a", "b"])
    assert [(r.alpha, r.kappa) for r in records] == [(2.0, 9.0), (3.0, 8.0)]


def test_the_moment_of_expiry_stays(filled: M2MVectorStore) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    filled.collection.upsert([[1.0] + [0.0] * 63], ids=["a"], texts=["fox"], expires_at=[soon])
    filled.update_documents(["a", "b"], [Document("red hare"), Document("grey wolf")])
    assert [r.expires_at for r in filled.collection.get(["a", "b"])] == [soon, None]


def test_what_is_deleted_while_texts_are_embedded_stays_deleted(
    filled: M2MVectorStore, embedding: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = embedding.embed_documents

    def slow(texts: list[str]) -> list[list[float]]:
        filled.delete(["a"])
        vectors: list[list[float]] = embed(texts)
        return vectors

    monkeypatch.setattr(embedding, "embed_documents", slow)
    filled.update_documents(["a", "b"], [Document("white hare"), Document("brown bear")])
    assert filled.list_ids() == ["b"]
    assert filled.get_by_ids(["b"])[0].page_content == "brown bear"


def test_records_without_kappa_can_be_updated_beside_records_with_one(
    filled: M2MVectorStore,
) -> None:
    filled.collection.upsert([[1.0] + [0.0] * 63], ids=["a"], texts=["red fox"], kappas=[9.0])
    filled.update_documents(["a", "b"], [Document("red fox"), Document("grey wolf")])
    assert [r.kappa for r in filled.collection.get(["a", "b"])] == [9.0, None]
