"""Where data lives: apart in memory, together in a folder, across copies, closing and processes."""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_m2m import M2MVectorStore

from m2m_rag import Database
from m2m_rag.errors import ClosedError, InvalidInputError, ReadOnlyError, WriterLockedError

Make = Callable[..., M2MVectorStore]


def test_stores_in_memory_share_nothing(make: Make, embedding: Any) -> None:
    first, second = make(embedding), make(embedding)
    first.add_texts(["red fox"])
    assert second.count() == 0
    assert second.similarity_search("fox") == []
    second.add_texts(["grey wolf"])
    assert [d.page_content for d in first.iter_documents()] == ["red fox"]


@pytest.mark.parametrize("kind", [str, Path])
def test_reopening_finds_everything(
    make: Make, embedding: Any, tmp_path: Path, kind: Callable[[Path], Any]
) -> None:
    with make(embedding, path=kind(tmp_path / "db")) as store:
        store.add_texts(["red fox", "grey wolf"], [{"n": 1}, {"n": 2}], ids=["f", "w"])
        before = store.similarity_search_with_score("fox")
    store = make(embedding, path=kind(tmp_path / "db"))
    assert store.similarity_search_with_score("fox") == before
    assert store.get_by_ids(["w"]) == [Document("grey wolf", id="w", metadata={"n": 2})]
    store.add_texts(["brown bear"])
    assert store.count() == 3


def test_collections_of_one_folder_are_apart(make: Make, embedding: Any, tmp_path: Path) -> None:
    first = make(embedding, path=tmp_path, collection_name="first")
    second = make(embedding, path=tmp_path, collection_name="second")
    first.add_texts(["red fox"], ids=["1"])
    second.add_texts(["grey wolf"], ids=["1"])
    assert first.get_by_ids(["1"])[0].page_content == "red fox"
    second.delete(delete_all=True)
    assert first.count() == 1


def test_stores_on_one_collection_see_each_other(
    make: Make, embedding: Any, tmp_path: Path
) -> None:
    early, late = make(embedding, path=tmp_path), make(embedding, path=tmp_path)
    assert late.similarity_search("fox") == []
    early.add_texts(["red fox"])
    assert [d.page_content for d in late.similarity_search("fox")] == ["red fox"]
    late.add_texts(["red wolf"])
    assert early.count() == 2


def test_opening_and_searching_create_no_collection(
    make: Make, embedding: Any, tmp_path: Path
) -> None:
    store = make(embedding, path=tmp_path)
    store.similarity_search("fox")
    store.get_by_ids(["1"])
    store.delete(["1"])
    store.count()
    with Database(tmp_path) as database:
        assert database.list() == []


def test_collection_gives_the_engine(store: M2MVectorStore) -> None:
    store.collection.add([[1.0] * 64], ids=["v"], texts=["from the engine"])
    assert store.get_by_ids(["v"]) == [Document("from the engine", id="v")]
    assert store.collection.dimension == 64


def test_read_only_store_reads_and_refuses_writes(
    make: Make, embedding: Any, tmp_path: Path
) -> None:
    make(embedding, path=tmp_path).add_texts(["red fox"])
    reader = make(embedding, path=tmp_path, read_only=True)
    assert reader.similarity_search("fox")[0].page_content == "red fox"
    with pytest.raises(ReadOnlyError):
        reader.add_texts(["grey wolf"])
    assert reader.count() == 1


def test_second_process_reads_and_is_refused_as_writer(
    make: Make, embedding: Any, tmp_path: Path
) -> None:
    store = make(embedding, path=tmp_path)
    store.add_embeddings([("red fox", [1.0, 0.0])])
    script = (
        "import sys\n"
        "from langchain_m2m import M2MVectorStore\n"
        "from m2m_rag.errors import WriterLockedError\n"
        "with M2MVectorStore(path=sys.argv[1]) as store:\n"
        "    print(store.similarity_search_by_vector([1.0, 0.0])[0].page_content)\n"
        "    try:\n"
        "        store.add_embeddings([('grey wolf', [0.0, 1.0])])\n"
        "    except WriterLockedError as error:\n"
        "        print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["red fox", WriterLockedError.__name__]
    assert store.count() == 1


def test_closed_store_raises_and_closing_again_is_fine(store: M2MVectorStore) -> None:
    store.add_texts(["red fox"])
    store.close()
    store.close()
    operations: list[Callable[[], object]] = [
        lambda: store.similarity_search("fox"),
        lambda: store.add_texts(["x"]),
        lambda: store.get_by_ids(["x"]),
        lambda: store.delete(["x"]),
        store.count,
    ]
    for operation in operations:
        with pytest.raises(ClosedError):
            operation()


def test_never_used_store_raises_after_closing_too(make: Make, embedding: Any) -> None:
    store = make(embedding)
    store.close()
    with pytest.raises(ClosedError):
        store.similarity_search("fox")


def test_folder_can_be_deleted_and_made_anew(make: Make, embedding: Any, tmp_path: Path) -> None:
    for turn in range(3):
        with make(embedding, path=tmp_path / "db") as store:
            assert store.count() == 0
            store.add_texts([f"text {turn}"], ids=["1"])
            assert store.get_by_ids(["1"])[0].page_content == f"text {turn}"
        shutil.rmtree(tmp_path / "db")


def test_no_file_stays_open_after_closing(make: Make, embedding: Any, tmp_path: Path) -> None:
    store = make(embedding, path=tmp_path / "db")
    store.add_texts(["red fox"])
    store.similarity_search("fox")
    assert _open_files(tmp_path)
    store.close()
    assert _open_files(tmp_path) == []


def test_pickle_and_copies_open_the_same_folder(make: Make, tmp_path: Path) -> None:
    embedding = DeterministicFakeEmbedding(size=6)
    store = make(embedding, path=tmp_path, collection_name="a", metric="l2", splat_capacity=2)
    store.add_texts(["red fox"])
    for twin in (pickle.loads(pickle.dumps(store)), copy.deepcopy(store), copy.copy(store)):
        with twin:
            assert twin.similarity_search_with_score(
                "red fox"
            ) == store.similarity_search_with_score("red fox")
            assert (twin.collection.name, twin.collection.metric) == ("a", "l2")
            with pytest.raises(InvalidInputError, match="splat_capacity"):
                twin.add_texts(["x", "y"])
    assert store.count() == 1


def test_deep_copy_shares_the_embedding(make: Make, embedding: Any, tmp_path: Path) -> None:
    with copy.deepcopy(make(embedding, path=tmp_path)) as twin:
        assert twin.embeddings is embedding


def test_relative_path_survives_a_change_of_folder(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = make(DeterministicFakeEmbedding(size=6), path="db")
    store.add_texts(["red fox"])
    frozen = pickle.dumps(store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pickle.loads(frozen) as twin:
        assert twin.count() == 1


def test_store_in_memory_cannot_be_copied(make: Make, embedding: Any) -> None:
    store = make(embedding)
    operations: list[Callable[[], object]] = [
        lambda: pickle.dumps(store),
        lambda: copy.deepcopy(store),
    ]
    for operation in operations:
        with pytest.raises(InvalidInputError, match="path="):
            operation()


def test_constructors_fill_a_folder(embedding: Any, tmp_path: Path) -> None:
    documents = [Document("red fox", id="f", metadata={"a": 1}), Document("grey wolf")]
    with M2MVectorStore.from_documents(iter(documents), embedding, path=tmp_path) as store:
        assert store.get_by_ids(["f"]) == [documents[0]]
        assert store.count() == 2
    with M2MVectorStore.from_texts(
        iter(["brown bear"]), embedding, path=tmp_path, ids=["b"], metric="cosine"
    ) as store:
        assert store.count() == 3
    with M2MVectorStore.from_embeddings(
        [("blue whale", [1.0] * 64)], embedding, [{"a": 2}], ids=["w"], path=tmp_path
    ) as store:
        assert store.similarity_search("blue whale", filter={"a": 2})[0].id == "w"


def test_from_no_texts(embedding: Any) -> None:
    with M2MVectorStore.from_texts([], embedding) as store:
        assert store.count() == 0


def test_failing_constructor_leaves_nothing_open(
    embedding: Any, embedding_class: Any, tmp_path: Path
) -> None:
    path = tmp_path / "db"
    M2MVectorStore.from_texts(["red fox"], embedding_class("words-1"), path=path).close()
    constructors: list[Callable[[], object]] = [
        lambda: M2MVectorStore.from_texts(["x"], embedding, ids=["1", "2"], path=path),
        lambda: M2MVectorStore.from_documents([], embedding, batch_size=0, path=path),
        lambda: M2MVectorStore.from_embeddings([("x", [1.0])], path=path),
        lambda: M2MVectorStore(embedding, metric="l2", path=path),
        lambda: M2MVectorStore(embedding_class("words-2"), path=path),
    ]
    for constructor in constructors:
        # The error keeps every frame alive, so that only close() can have closed the files.
        with pytest.raises(ValueError) as error:
            constructor()
        assert _open_files(tmp_path) == [], error


def _open_files(folder: Path) -> list[Path]:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("/proc is needed to list open files")
    opened = [entry.resolve() for entry in descriptors.iterdir() if entry.exists()]
    return [path for path in opened if path.is_relative_to(folder)]
