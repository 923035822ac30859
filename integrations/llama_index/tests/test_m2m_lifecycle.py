"""Durability, copies, pickling, closing, threads, and the asynchronous twins."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.schema import Document, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
)
from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore

from m2m_rag.errors import ClosedError, InvalidInputError, StorageError

ONE = MetadataFilters(filters=[MetadataFilter(key="kind", value=1)])


def nodes(*names: str) -> list[TextNode]:
    return [TextNode(id_=n, text=n, embedding=[1.0, 0.0], metadata={"kind": 1}) for n in names]


def test_what_was_added_is_there_for_the_next_process(tmp_path: Path) -> None:
    with M2MVectorStore(tmp_path / "db") as store:
        store.add(nodes("a", "b"))
        with M2MVectorStore(str(tmp_path / "db")) as reader:
            assert reader.count() == 2
            store.add(nodes("c"))
            assert reader.count() == 3
    with M2MVectorStore(tmp_path / "db") as again:
        assert [(n.node_id, n.get_content()) for n in again.get_nodes()] == [
            ("a", "a"), ("b", "b"), ("c", "c"),
        ]  # fmt: skip


def test_persist_copies_everything_and_replaces_an_older_copy(
    store: M2MVectorStore, tmp_path: Path
) -> None:
    target = str(tmp_path / "Ördner mit Leerzeichen" / "default__vector_store.json")
    store.add(nodes("a", "b"))
    store.client.upsert([[0.5, 0.5]], ids=["w"], alphas=[2.0], kappas=[9.0])
    store.persist(target)
    with M2MVectorStore.from_persist_path(target) as found:
        assert found.get_nodes() == store.get_nodes()
        assert found.client.get(["w"]) == store.client.get(["w"])
    store.delete_nodes(["a"])
    store.add(nodes("c"))
    store.persist(target, LocalFileSystem())
    with M2MVectorStore.from_persist_path(target, LocalFileSystem()) as found:
        assert found.get_nodes() == store.get_nodes()
        found.add(nodes("d"))
        found.persist(target)
        assert found.count() == 4
    assert not Path(target).exists()


def test_persist_of_another_kind_of_store_replaces_the_copy(tmp_path: Path) -> None:
    target = str(tmp_path / "default__vector_store.json")
    with M2MVectorStore() as first, M2MVectorStore(collection_name="x", metric="l2") as second:
        first.add(nodes("a"))
        first.persist(target)
        second.add([TextNode(id_="b", embedding=[1.0, 2.0, 3.0])])
        second.persist(target)
    with M2MVectorStore.from_persist_path(target) as found:
        assert (found.collection_name, found.metric, found.count()) == ("x", "l2", 1)


@pytest.mark.parametrize("embedder", ["other", None])
def test_persist_replaces_the_copy_of_another_embedder(
    tmp_path: Path, embedder: str | None
) -> None:
    target = str(tmp_path / "default__vector_store.json")
    with M2MVectorStore(embedder="one") as first, M2MVectorStore(embedder=embedder) as second:
        first.add(nodes("a"))
        first.persist(target)
        second.add(nodes("b"))
        second.persist(target)
    with M2MVectorStore.from_persist_path(target) as found:
        assert found.client.embedder == embedder
        assert [node.node_id for node in found.get_nodes()] == ["b"]


def test_an_empty_store_persists_as_empty(tmp_path: Path) -> None:
    with M2MVectorStore() as store:
        store.persist(str(tmp_path / "s.json"))
    with M2MVectorStore.from_persist_path(str(tmp_path / "s.json")) as found:
        assert found.count() == 0
        found.add(nodes("a"))


def test_persist_and_load_say_what_they_cannot_do(tmp_path: Path) -> None:
    with M2MVectorStore() as store, pytest.raises(InvalidInputError, match="MemoryFileSystem"):
        store.persist("s.json", MemoryFileSystem())
    with pytest.raises(StorageError, match="no copy of a store at"):
        M2MVectorStore.from_persist_dir(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_storage_context_persists_and_loads_several_stores(
    tmp_path: Path, embed_model: M2MEmbedding
) -> None:
    with M2MVectorStore() as words, M2MVectorStore() as other:
        context = StorageContext.from_defaults(vector_stores={"default": words, "other": other})
        other.add([TextNode(id_="o", embedding=[1.0])])
        VectorStoreIndex.from_documents(
            [Document(text="red apples")], storage_context=context, embed_model=embed_model
        )
        context.persist(str(tmp_path))
    with (
        M2MVectorStore.from_persist_dir(str(tmp_path)) as words,
        M2MVectorStore.from_persist_dir(str(tmp_path), "other") as other,
    ):
        loaded = StorageContext.from_defaults(persist_dir=str(tmp_path), vector_store=words)
        index = load_index_from_storage(loaded, embed_model=embed_model)
        (found,) = index.as_retriever().retrieve("apples")
        assert found.node.get_content() == "red apples"
        assert other.count() == 1


def test_an_empty_store_is_not_replaced_by_the_default_one() -> None:
    with M2MVectorStore() as store:
        assert StorageContext.from_defaults(vector_store=store).vector_store is store


def test_pickle_deepcopy_and_dictionaries_reopen_by_path(tmp_path: Path) -> None:
    with M2MVectorStore(tmp_path, "mine", "dot", embedder="model-a") as store:
        store.add(nodes("a"))
        for found in (
            pickle.loads(pickle.dumps(store)),
            copy.deepcopy(store),
            copy.copy(store),
            M2MVectorStore.from_dict(store.to_dict()),
            M2MVectorStore.from_json(store.to_json()),
            M2MVectorStore.from_params(path=tmp_path, collection_name="mine", metric="dot"),
        ):
            with found:
                assert type(found) is M2MVectorStore
                assert (found.count(), found.metric, found.path) == (1, "dot", str(tmp_path))
        assert store.count() == 1


def test_a_store_in_memory_refuses_to_be_copied(tmp_path: Path) -> None:
    with M2MVectorStore() as store:
        for act in (
            lambda: pickle.dumps(store),
            lambda: copy.deepcopy(store),
            lambda: store.model_copy(),
            lambda: M2MVectorStore.from_dict(store.to_dict()),
        ):
            with pytest.raises(InvalidInputError, match="its nodes would be lost"):
                act()


def test_a_closed_store_says_so(store: M2MVectorStore) -> None:
    store.add(nodes("a"))
    store.close()
    store.close()
    for act in (
        lambda: store.add(nodes("b")),
        lambda: store.get_nodes(),
        lambda: store.query(VectorStoreQuery(query_embedding=[1.0, 0.0])),
        lambda: store.delete("a"),
        lambda: store.clear(),
    ):
        with pytest.raises(ClosedError):
            act()


def test_eight_threads_lose_nothing(store: M2MVectorStore) -> None:
    def write(writer: int) -> None:
        for i in range(5):
            store.add(nodes(f"{writer}-{i}", f"{writer}-{i}-x"))
            store.query(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=3))
            store.delete_nodes([f"{writer}-{i}-x"])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert {n.node_id for n in store.get_nodes()} == {
        f"{w}-{i}" for w in range(8) for i in range(5)
    }


async def test_the_asynchronous_twins_do_the_same(store: M2MVectorStore) -> None:
    assert await store.async_add(nodes("a", "b", "c")) == ["a", "b", "c"]
    result = await store.aquery(VectorStoreQuery(query_embedding=[1.0, 0.0], similarity_top_k=9))
    assert sorted(result.ids or []) == ["a", "b", "c"]
    await store.adelete("a")
    await store.adelete_nodes(["b"], ONE)
    assert [n.node_id for n in await store.aget_nodes(filters=ONE)] == ["c"]
    await store.areplace_ref_doc("c", nodes("c"))
    await store.aclear()
    assert await store.aget_nodes() == []
    with pytest.raises(TypeError, match="force"):
        await store.adelete_nodes(["b"], force=True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("async_add", ([],)),
        ("adelete", ("x",)),
        ("adelete_nodes", (["x"],)),
        ("aclear", ()),
        ("aget_nodes", ()),
        ("areplace_ref_doc", ("x", [])),
        ("aquery", (VectorStoreQuery(query_embedding=[1.0]),)),
    ],
)
async def test_every_twin_leaves_the_event_loop_free(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: tuple[Any, ...]
) -> None:
    """The synchronous method sleeps and says where; meanwhile the loop must keep ticking."""
    twin = {"async_add": "add"}.get(name, name[1:])
    threads: list[int] = []

    def slow(*args: Any, **kwargs: Any) -> None:
        threads.append(threading.get_ident())
        time.sleep(0.1)

    monkeypatch.setattr(M2MVectorStore, twin, slow)
    with M2MVectorStore() as store:
        task = asyncio.create_task(getattr(store, name)(*arguments))
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        await task
    assert [thread == threading.get_ident() for thread in threads] == [False]
    assert ticks >= 3


def test_the_store_is_what_llamaindex_expects() -> None:
    assert BasePydanticVectorStore in M2MVectorStore.__mro__
    assert M2MVectorStore.class_name() == "M2MVectorStore"
    asynchronous = {n for n, f in vars(BasePydanticVectorStore).items() if n.startswith("a") and
                    inspect.iscoroutinefunction(f)}  # fmt: skip
    for name in asynchronous:
        assert getattr(M2MVectorStore, name) is not getattr(BasePydanticVectorStore, name)
    with M2MVectorStore() as store:
        assert (store.stores_text, store.flat_metadata, store.is_embedding_query) == (
            True, False, True,
        )  # fmt: skip
        assert store.client.name == "llama_index"
