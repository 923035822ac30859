"""Whose vectors these are: a collection keeps to one model, told before anything is paid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_m2m import M2MVectorStore
from langchain_m2m._embedding import as_embeddings, fingerprint_of

from m2m_rag.errors import EmbedderMismatchError
from m2m_rag.text import as_embedder

Make = Callable[..., M2MVectorStore]


def test_another_model_is_refused_at_opening(
    make: Make, embedding_class: Any, tmp_path: Path
) -> None:
    make(embedding_class("words-1"), path=tmp_path).add_texts(["red fox"])
    assert make(embedding_class("words-1"), path=tmp_path).count() == 1
    with pytest.raises(EmbedderMismatchError, match="words-1"):
        make(embedding_class("words-2"), path=tmp_path)


async def test_another_model_is_refused_before_it_is_paid(
    make: Make, embedding_class: Any, tmp_path: Path
) -> None:
    other = embedding_class("words-2")
    early = make(other, path=tmp_path)
    make(embedding_class("words-1"), path=tmp_path).add_texts(["red fox"])
    with pytest.raises(EmbedderMismatchError):
        early.similarity_search("fox")
    with pytest.raises(EmbedderMismatchError):
        early.add_texts(["grey wolf"])
    with pytest.raises(EmbedderMismatchError):
        await early.asimilarity_search("fox")
    with pytest.raises(EmbedderMismatchError):
        await early.aadd_texts(["grey wolf"])
    assert (other.embedded, other.awaited, other.questions) == ([], [], 0)


def test_reading_does_not_bind(make: Make, embedding_class: Any, tmp_path: Path) -> None:
    make(path=tmp_path).add_embeddings([("red fox", [1.0] * 64)])
    store = make(embedding_class("words-1"), path=tmp_path)
    store.similarity_search("fox")
    assert store.collection.embedder is None
    store.add_texts(["grey wolf"])
    assert store.collection.embedder == fingerprint_of(embedding_class("words-1"))


def test_embedding_without_a_name_is_not_bound(
    make: Make, embedding: Any, embedding_class: Any, tmp_path: Path
) -> None:
    store = make(embedding, path=tmp_path)
    store.add_texts(["red fox"])
    assert store.collection.embedder is None
    make(embedding_class("words-1"), path=tmp_path).add_texts(["grey wolf"])
    assert make(embedding.embed_query, path=tmp_path).similarity_search("fox")


@pytest.mark.parametrize("attribute", ["model", "model_name", "model_id", "deployment_name"])
def test_name_is_class_and_model_as_for_ingest(embedding: Any, attribute: str) -> None:
    embedding.model = None
    setattr(embedding, attribute, "words-1")
    name = fingerprint_of(embedding)
    assert name == as_embedder(embedding).fingerprint
    assert name is not None
    assert "WordEmbeddings" in name
    assert "words-1" in name


def test_bound_method_is_known_as_its_object(embedding_class: Any) -> None:
    embedding = embedding_class("words-1")
    assert fingerprint_of(as_embeddings(embedding.embed_query)) == fingerprint_of(embedding)


def test_own_fingerprint_comes_first(embedding_class: Any) -> None:
    embedding = embedding_class("words-1")
    embedding.fingerprint = "words/1"
    assert fingerprint_of(embedding) == "words/1"


def test_what_is_no_string_is_no_name(embedding_class: Any) -> None:
    assert fingerprint_of(embedding_class("")) is None
    assert fingerprint_of(embedding_class(SimpleNamespace(name="words"))) is None
    assert fingerprint_of(as_embeddings(lambda text: [1.0])) is None
    assert fingerprint_of(as_embeddings(len)) is None  # type: ignore[arg-type]
