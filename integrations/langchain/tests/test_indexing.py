"""LangChain's `index` and `aindex` keep the store in step with a changing source."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, aindex, index
from langchain_m2m import M2MVectorStore

Cleanup = Literal["incremental", "full", "scoped_full"]
CLEANUPS: list[Cleanup] = ["incremental", "full", "scoped_full"]


@pytest.fixture
def manager() -> InMemoryRecordManager:
    manager = InMemoryRecordManager(namespace="animals")
    manager.create_schema()
    return manager


def _documents(*texts: str, source: str = "a.txt") -> list[Document]:
    return [Document(text, metadata={"source": source}) for text in texts]


def _run(
    documents: Iterable[Document], manager: InMemoryRecordManager, store: M2MVectorStore, **how: Any
) -> tuple[int, int, int, int]:
    how.setdefault("key_encoder", "sha256")
    done = index(documents, manager, store, source_id_key="source", **how)
    return done["num_added"], done["num_updated"], done["num_skipped"], done["num_deleted"]


def _texts(store: M2MVectorStore) -> list[str]:
    return sorted(document.page_content for document in store.iter_documents())


def test_unchanged_documents_are_skipped(
    store: M2MVectorStore, manager: InMemoryRecordManager, embedding: Any
) -> None:
    assert _run(_documents("fox", "wolf"), manager, store) == (2, 0, 0, 0)
    embedding.embedded.clear()
    assert _run(_documents("fox", "wolf"), manager, store) == (0, 0, 2, 0)
    assert embedding.embedded == []
    assert _texts(store) == ["fox", "wolf"]


@pytest.mark.parametrize("cleanup", CLEANUPS)
def test_changed_documents_replace_their_old_form(
    store: M2MVectorStore, manager: InMemoryRecordManager, cleanup: Cleanup
) -> None:
    _run(_documents("fox", "wolf"), manager, store, cleanup=cleanup)
    done = _run(_documents("fox", "grey wolf"), manager, store, cleanup=cleanup)
    assert done == (1, 0, 1, 1)
    assert _texts(store) == ["fox", "grey wolf"]


@pytest.mark.parametrize(
    ("cleanup", "left"),
    [("incremental", ["bear", "fox"]), ("scoped_full", ["bear", "fox"]), ("full", ["fox"])],
)
def test_cleanup_reaches_as_far_as_it_says(
    store: M2MVectorStore, manager: InMemoryRecordManager, cleanup: Cleanup, left: list[str]
) -> None:
    documents = _documents("fox", "wolf") + _documents("bear", source="b.txt")
    _run(documents, manager, store)
    _run(_documents("fox"), manager, store, cleanup=cleanup)
    assert _texts(store) == left


def test_full_cleanup_of_an_empty_source(
    store: M2MVectorStore, manager: InMemoryRecordManager
) -> None:
    _run(_documents(*(f"text {n}" for n in range(30))), manager, store)
    done = _run([], manager, store, cleanup="full", cleanup_batch_size=7)
    assert done == (0, 0, 0, 30)
    assert store.count() == 0


def test_no_cleanup_keeps_everything(store: M2MVectorStore, manager: InMemoryRecordManager) -> None:
    _run(_documents("fox"), manager, store)
    assert _run(_documents("wolf"), manager, store) == (1, 0, 0, 0)
    assert _texts(store) == ["fox", "wolf"]


def test_forced_update_writes_again(
    store: M2MVectorStore, manager: InMemoryRecordManager, embedding: Any
) -> None:
    _run(_documents("fox", "wolf"), manager, store)
    embedding.embedded.clear()
    assert _run(_documents("fox", "wolf"), manager, store, force_update=True) == (0, 2, 0, 0)
    assert embedding.embedded == ["fox", "wolf"]
    assert store.count() == 2


def test_documents_lost_from_the_store_do_not_stop_a_cleanup(
    store: M2MVectorStore, manager: InMemoryRecordManager
) -> None:
    _run(_documents("fox", "wolf"), manager, store)
    store.delete(delete_all=True)
    assert _run(_documents("bear"), manager, store, cleanup="full") == (1, 0, 0, 2)
    assert _texts(store) == ["bear"]


@pytest.mark.parametrize(
    "encoder", ["sha1", "sha256", "sha512", "blake2b", lambda d: "id/" + d.page_content]
)
@pytest.mark.filterwarnings("ignore:Using SHA-1")
def test_every_key_encoder(
    store: M2MVectorStore, manager: InMemoryRecordManager, encoder: Any
) -> None:
    for cleanup in (None, "full"):
        _run(_documents("fox", "wolf"), manager, store, key_encoder=encoder, cleanup=cleanup)
        assert _texts(store) == ["fox", "wolf"]


def test_duplicates_in_one_source_are_stored_once(
    store: M2MVectorStore, manager: InMemoryRecordManager
) -> None:
    assert _run(_documents("fox", "wolf", "fox"), manager, store, batch_size=10) == (2, 0, 1, 0)
    assert store.count() == 2


def test_small_batches_and_generators(
    store: M2MVectorStore, manager: InMemoryRecordManager
) -> None:
    texts = sorted(f"text {n}" for n in range(10))
    documents = (document for document in _documents(*texts))
    assert _run(documents, manager, store, batch_size=3, cleanup="full") == (10, 0, 0, 0)
    assert _texts(store) == texts


@pytest.mark.parametrize("cleanup", CLEANUPS)
async def test_async_twin(
    store: M2MVectorStore, manager: InMemoryRecordManager, embedding: Any, cleanup: Cleanup
) -> None:
    async def changed() -> AsyncIterator[Document]:
        for document in _documents("fox", "grey wolf"):
            yield document

    how: dict[str, Any] = {
        "source_id_key": "source",
        "cleanup": cleanup,
        "key_encoder": "sha256",
        "batch_size": 1,
    }
    await aindex(_documents("fox", "wolf"), manager, store, **how)
    done = await aindex(changed(), manager, store, **how)
    assert (done["num_added"], done["num_skipped"], done["num_deleted"]) == (1, 1, 1)
    assert _texts(store) == ["fox", "grey wolf"]
    assert embedding.awaited == ["fox", "wolf", "grey wolf"]
    assert embedding.embedded == []
