"""Async: the embedding is awaited, the store's work leaves the loop free, twins agree."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import InvalidInputError, UnknownArgumentError

Make = Callable[..., M2MVectorStore]
TEXTS = ["red fox", "red wolf", "brown bear", "grey stone"]


async def test_the_embedding_is_awaited(store: M2MVectorStore, embedding: Any) -> None:
    await store.aadd_texts(["a"])
    await store.aadd_documents([Document("b")])
    await store.asimilarity_search("c")
    await store.asimilarity_search_with_score("d")
    await store.asimilarity_search_with_relevance_scores("e")
    await store.amax_marginal_relevance_search("f")
    await store.as_retriever().ainvoke("g")
    assert embedding.awaited == ["a", "b", "c", "d", "e", "f", "g"]
    assert embedding.embedded == []
    assert embedding.questions == 0


async def test_twins_agree(store: M2MVectorStore, embedding: Any) -> None:
    assert await store.aadd_texts(TEXTS, [{"n": n} for n in range(4)], ids=list("abcd")) == [
        *"abcd"
    ]
    vector = embedding.embed_query("red")
    some = {"n": {"$lte": 2}}
    assert await store.aget_by_ids(["b", "a"]) == store.get_by_ids(["b", "a"])
    assert await store.asimilarity_search("red", 2, some) == store.similarity_search("red", 2, some)
    assert await store.asimilarity_search_with_score(
        "red", 2
    ) == store.similarity_search_with_score("red", 2)
    assert await store.asimilarity_search_by_vector(
        vector, filter=some
    ) == store.similarity_search_by_vector(vector, filter=some)
    assert await store.asimilarity_search_with_score_by_vector(
        vector
    ) == store.similarity_search_with_score_by_vector(vector)
    assert await store.amax_marginal_relevance_search(
        "red", 3, lambda_mult=0.1
    ) == store.max_marginal_relevance_search("red", 3, lambda_mult=0.1)
    assert await store.amax_marginal_relevance_search_by_vector(
        vector, 3, filter=some
    ) == store.max_marginal_relevance_search_by_vector(vector, 3, filter=some)
    assert await store.asearch("red", "mmr") == store.search("red", "mmr")
    assert await store.adelete(["a"], filter=some) is True
    assert await store.adelete(filter={"n": 1}) is True
    assert await store.aadd_embeddings([("e", vector)], ids=["e"]) == ["e"]
    assert store.list_ids() == ["c", "d", "e"]
    assert await store.adelete(delete_all=True) is True
    assert store.count() == 0


def test_every_async_method_of_the_interface_is_native() -> None:
    inherited = {
        "asearch",
        "asimilarity_search_with_relevance_scores",
        "_asimilarity_search_with_relevance_scores",
    }
    for name in vars(VectorStore):
        if name.lstrip("_").startswith("a") and asyncio.iscoroutinefunction(
            getattr(M2MVectorStore, name)
        ):
            overridden = getattr(M2MVectorStore, name) is not getattr(VectorStore, name)
            assert overridden or name in inherited, name


async def test_constructors_are_native(embedding: Any) -> None:
    with await M2MVectorStore.afrom_texts(TEXTS, embedding, ids=list("abcd")) as store:
        assert store.list_ids() == [*"abcd"]
    with await M2MVectorStore.afrom_documents(
        (Document(text, id=text) for text in TEXTS), embedding, collection_name="other"
    ) as store:
        assert store.list_ids() == TEXTS
    assert embedding.awaited == TEXTS + TEXTS
    with await M2MVectorStore.afrom_embeddings([("east", [1.0, 0.0])]) as store:
        assert store.count() == 1


async def test_async_arguments_are_checked_before_embedding(
    store: M2MVectorStore, embedding: Any
) -> None:
    with pytest.raises(UnknownArgumentError, match="'filter'"):
        await store.asimilarity_search("fox", fliter={})
    with pytest.raises(UnknownArgumentError):
        await store.aadd_texts(["fox"], metadata=[{}])
    with pytest.raises(UnknownArgumentError):
        await store.adelete(where={"a": 1})
    with pytest.raises(InvalidInputError, match="1 ids for 2 texts"):
        await store.aadd_texts(["fox", "wolf"], ids=["a"])
    assert embedding.awaited == []


async def test_search_runs_beside_the_loop(store: M2MVectorStore) -> None:
    store.add_texts(TEXTS)
    loop_moved = threading.Event()
    asyncio.get_running_loop().call_later(0.01, loop_moved.set)
    hits = await store.asimilarity_search("red", filter=lambda document: loop_moved.wait(10))
    assert len(hits) == 4


OPERATIONS: dict[str, Callable[[M2MVectorStore], Awaitable[object]]] = {
    "add_texts": lambda store: store.aadd_texts(["white hare"]),
    "add_documents": lambda store: store.aadd_documents([Document("white hare")]),
    "add_embeddings": lambda store: store.aadd_embeddings([("white hare", [1.0] * 64)]),
    "update": lambda store: store.aupdate_documents(["a"], [Document("white hare")]),
    "get": lambda store: store.aget_by_ids(["a"]),
    "delete": lambda store: store.adelete(["a"]),
    "search": lambda store: store.asimilarity_search("red"),
    "search_by_vector": lambda store: store.asimilarity_search_by_vector([1.0] * 64),
    "mmr": lambda store: store.amax_marginal_relevance_search("red"),
    "mmr_by_vector": lambda store: store.amax_marginal_relevance_search_by_vector([1.0] * 64),
    "retriever": lambda store: store.as_retriever(score_key="score").ainvoke("red"),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
async def test_the_loops_thread_never_touches_the_collection(
    store: M2MVectorStore,
    operation: Callable[[M2MVectorStore], Awaitable[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store.add_texts(TEXTS, ids=list("abcd"))
    threads: set[int] = set()

    def spied(method: Callable[..., object]) -> Callable[..., object]:
        def spy(*args: Any) -> object:
            threads.add(threading.get_ident())
            return method(*args)

        return spy

    for name in ("find", "ensure", "check_capacity"):
        monkeypatch.setattr(store._handle, name, spied(getattr(store._handle, name)))
    await operation(store)
    assert threads
    assert threading.get_ident() not in threads


async def test_ten_first_writes_at_once(make: Make, embedding: Any, tmp_path: Path) -> None:
    for store in (make(embedding), make(embedding, path=tmp_path)):
        await asyncio.gather(*(store.aadd_texts([f"text {n}"], ids=[str(n)]) for n in range(10)))
        assert sorted(store.list_ids()) == sorted(map(str, range(10)))


def test_eight_writers_and_eight_readers_lose_nothing(store: M2MVectorStore) -> None:
    store.add_texts(["first"])
    errors: list[BaseException] = []

    def run(operation: Callable[[int], object]) -> None:
        try:
            for turn in range(10):
                operation(turn)
        except BaseException as error:
            errors.append(error)

    writers = [
        threading.Thread(target=run, args=(lambda turn, w=w: store.add_texts([f"{w} {turn}"]),))
        for w in range(8)
    ]
    readers = [
        threading.Thread(target=run, args=(lambda turn: store.similarity_search("first"),))
        for _ in range(8)
    ]
    for thread in writers + readers:
        thread.start()
    for thread in writers + readers:
        thread.join()
    assert errors == []
    assert store.count() == 81


async def test_stop_iteration_of_a_filter_reaches_the_caller(store: M2MVectorStore) -> None:
    store.add_texts(TEXTS)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(
            store.asimilarity_search("red", filter=lambda document: next(iter(()))), 10
        )


def test_reads_do_not_wait_for_a_write(
    store: M2MVectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add_texts(TEXTS)
    writing, read = threading.Event(), threading.Event()

    def upsert(*args: object, **columns: object) -> None:
        writing.set()
        assert read.wait(10)

    def write() -> None:
        store.add_texts(["white hare"])

    def search() -> None:
        assert len(store.similarity_search("red")) == 4
        read.set()

    monkeypatch.setattr(store.collection, "upsert", upsert)
    threads = [threading.Thread(target=write), threading.Thread(target=search)]
    threads[0].start()
    assert writing.wait(10)
    threads[1].start()
    assert read.wait(5), "the search waited for the write"
    for thread in threads:
        thread.join()
