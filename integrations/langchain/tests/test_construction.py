"""How a store is made: names of the embedding, the founding form, limits, refused arguments."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import InvalidInputError, LimitError, UnknownArgumentError

Make = Callable[..., M2MVectorStore]


class ArrayEmbedder:
    """An m2m_rag embedder: arrays out, not a LangChain class."""

    fingerprint = "array-embedder/1"
    dimension = 2

    def embed_documents(self, texts: Sequence[str]) -> Any:
        return np.asarray([[len(text), 1.0] for text in texts], dtype=np.float32)

    def embed_query(self, text: str) -> Any:
        return np.asarray([len(text), 1.0], dtype=np.float32)


@pytest.mark.parametrize("name", ["embedding", "embeddings", "embedding_function"])
def test_embedding_has_three_names(make: Make, embedding: Any, name: str) -> None:
    store = make(**{name: embedding})
    store.add_texts(["red fox", "grey wolf"])
    assert store.similarity_search("fox", k=1)[0].page_content == "red fox"
    assert store.embeddings is embedding


def test_first_positional_argument_is_the_embedding(make: Make, embedding: Any) -> None:
    assert make(embedding).embeddings is embedding


@pytest.mark.parametrize(
    "names",
    [
        ("embedding", "embeddings"),
        ("embedding", "embedding_function"),
        ("embeddings", "embedding_function"),
    ],
)
def test_two_embeddings_at_once_are_refused(
    make: Make, embedding: Any, names: tuple[str, str]
) -> None:
    with pytest.raises(InvalidInputError, match=f"{names[0]} and {names[1]}"):
        make(**dict.fromkeys(names, embedding))


def test_founding_document_form(make: Make, embedding: Any) -> None:
    store = make(
        embedding_function=embedding.embed_query, splat_capacity=100000, enable_vulkan=False
    )
    store.add_texts(["red fox", "grey wolf", "brown bear"])
    assert store.similarity_search("grey wolf", k=10)[0].page_content == "grey wolf"
    assert embedding.embedded == []
    assert embedding.questions == 4


def test_plain_function_embeds_texts_and_questions(make: Make) -> None:
    asked: list[str] = []

    def embed(text: str) -> list[float]:
        asked.append(text)
        return [float(len(text)), 1.0]

    store = make(embed)
    store.add_texts(["aa", "bbbb"])
    store.similarity_search("cc")
    assert asked == ["aa", "bbbb", "cc"]
    assert isinstance(store.embeddings, Embeddings)


def test_m2m_embedder_works_as_it_is(make: Make) -> None:
    store = make(ArrayEmbedder())
    store.add_texts(["aa", "b" * 50])
    assert store.similarity_search("c" * 45, k=1)[0].page_content == "b" * 50
    assert store.embeddings is not None
    assert store.embeddings.embed_query("abc") == [3.0, 1.0]
    assert store.embeddings.embed_documents(["abc"]) == [[3.0, 1.0]]


@pytest.mark.parametrize("bad", [3, "all-MiniLM-L6-v2", dict, ArrayEmbedder])
def test_what_cannot_embed_is_refused(make: Make, bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="embed_query"):
        make(bad)


def test_coroutine_function_is_refused(make: Make, embedding: Any) -> None:
    with pytest.raises(InvalidInputError, match="coroutine"):
        make(embedding.aembed_query)


def test_store_without_embedding_works_by_vector_only(make: Make) -> None:
    store = make()
    store.add_embeddings([("east", [1.0, 0.0]), ("north", [0.0, 1.0])])
    assert store.similarity_search_by_vector([0.1, 0.9], k=1)[0].page_content == "north"
    for operation in (
        lambda: store.add_texts(["west"]),
        lambda: store.add_documents([Document("west")]),
        lambda: store.similarity_search("east"),
        lambda: store.max_marginal_relevance_search("east"),
    ):
        with pytest.raises(InvalidInputError, match="no embedding"):
            operation()
    assert store.count() == 2


def test_capacity_is_checked_before_anything_is_embedded_or_written(
    make: Make, embedding: Any
) -> None:
    store = make(embedding, splat_capacity=3)
    store.add_texts(["one", "two"], ids=["1", "2"])
    embedding.embedded.clear()
    with pytest.raises(LimitError, match="at most 3"):
        store.add_texts(["three", "four"], ids=["3", "4"], batch_size=1)
    assert embedding.embedded == []
    assert store.list_ids() == ["1", "2"]


def test_capacity_counts_only_new_ids(make: Make, embedding: Any) -> None:
    store = make(embedding, splat_capacity=3)
    store.add_texts(["one", "two"], ids=["1", "2"])
    store.add_texts(["uno", "due", "tre", "tre"], ids=["1", "2", "3", "3"])
    assert store.count() == 3
    store.add_texts(["ein"], ids=["1"])
    with pytest.raises(LimitError):
        store.add_embeddings([("four", [0.0] * 64)])
    assert store.count() == 3


@pytest.mark.parametrize("capacity", [0, -1, True])
def test_senseless_capacity_is_refused(make: Make, embedding: Any, capacity: Any) -> None:
    with pytest.raises(InvalidInputError, match="splat_capacity"):
        make(embedding, splat_capacity=capacity)


def test_vulkan_is_refused_clearly(make: Make, embedding: Any) -> None:
    with pytest.raises(InvalidInputError, match="vulkan"):
        make(embedding, enable_vulkan=True)


def test_unknown_argument_names_the_near_one(make: Make, embedding: Any) -> None:
    with pytest.raises(UnknownArgumentError, match="'collection_name'"):
        make(embedding, colection_name="a")
    with pytest.raises(TypeError):
        make(embedding, persist_directory="a")


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 200])
def test_bad_collection_name_is_refused(make: Make, embedding: Any, name: str) -> None:
    with pytest.raises(InvalidInputError):
        make(embedding, collection_name=name).add_texts(["a"])


def test_collection_of_another_metric_is_refused(
    make: Make, embedding: Any, tmp_path: Path
) -> None:
    make(embedding, path=tmp_path, metric="l2").add_texts(["a"])
    with pytest.raises(InvalidInputError, match="metric='l2'"):
        make(embedding, path=tmp_path)
    assert make(embedding, path=tmp_path, metric="l2").count() == 1


def test_read_only_needs_a_path(make: Make, embedding: Any) -> None:
    with pytest.raises(InvalidInputError, match="read_only"):
        make(embedding, read_only=True)


def test_empty_store_is_true(store: M2MVectorStore) -> None:
    assert len(store) == 0
    assert store


def test_senseless_metric_is_refused(make: Make, embedding: Any) -> None:
    with pytest.raises(InvalidInputError, match="'cosin'"):
        make(embedding, metric="cosin")
    with pytest.raises(InvalidInputError, match="metric: expected 'cosine' or 'dot' or 'l2'"):
        make(embedding, metric=["cosine"])


def test_capacity_holds_for_two_stores_on_one_folder(
    make: Make, embedding: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = [make(embedding, path=tmp_path / "db", splat_capacity=3) for _ in range(2)]
    stores[0].add_texts(["red fox", "grey wolf"])
    reached = threading.Barrier(2)
    refused = []

    def check(checking: Any) -> Any:
        def both(ids: Any) -> None:
            checking(ids)
            with suppress(threading.BrokenBarrierError):
                reached.wait(0.3)

        return both

    def write(store: M2MVectorStore) -> None:
        try:
            store.add_embeddings([("white hare", [1.0] * 64)])
        except LimitError as error:
            refused.append(error)

    for store in stores:
        monkeypatch.setattr(store._handle, "check_capacity", check(store._handle.check_capacity))
    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (stores[0].count(), len(refused)) == (3, 1)
