"""Adding, reading, deleting and replacing nodes: the rules of every method, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.m2m import M2MVectorStore

from m2m_rag.errors import (
    CollectionExistsError,
    DimensionError,
    EmbedderMismatchError,
    InvalidFilterError,
    InvalidInputError,
    UnknownArgumentError,
)


def node(id_: str, doc: str | None = None, vector: Any = (1.0, 0.0), **fields: Any) -> TextNode:
    relations = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)} if doc else {}
    text = fields.pop("text", f"text of {id_}")
    return TextNode(
        id_=id_, text=text, embedding=list(vector), relationships=relations, metadata=fields
    )


def ids(store: M2MVectorStore) -> list[str]:
    return [found.node_id for found in store.get_nodes()]


def where(**equal: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=k, value=v) for k, v in equal.items()])


def test_add_returns_ids_in_order_and_takes_any_iterable(store: M2MVectorStore) -> None:
    assert store.add([]) == []
    assert store.add(node(name) for name in ("b", "a", "ü/§ '\"")) == ["b", "a", "ü/§ '\""]
    assert ids(store) == ["b", "a", "ü/§ '\""]


def test_add_replaces_by_id_and_the_last_duplicate_wins(store: M2MVectorStore) -> None:
    store.add([node("a", text="old", year=1), node("b")])
    store.add([node("a", text="newer", year=2), node("a", vector=(0.0, 1.0), text="newest")])
    assert store.count() == 2
    (found,) = store.get_nodes(["a"])
    assert (found.get_content(), found.metadata, found.embedding) == ("newest", {}, [0.0, 1.0])


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (TextNode(id_="bad", text="x"), InvalidInputError, "'bad' has no embedding"),
        (node("bad", vector=(1.0, 2.0, 3.0)), DimensionError, "3"),
        (node("bad", vector=(float("nan"), 1.0)), InvalidInputError, "finite|NaN"),
        ("just a text", InvalidInputError, "got a str"),
        (node("bad", thing=object()), InvalidInputError, "'bad' can't be written as JSON"),
        (node(""), InvalidInputError, "empty"),
        (TextNode(embedding=[1.0, 0.0], metadata={"a\x00b": 1}), InvalidInputError, "NUL"),
    ],
)
def test_a_bad_node_raises_and_nothing_of_its_batch_is_stored(
    store: M2MVectorStore, bad: Any, error: type[Exception], words: str
) -> None:
    store.add([node("first")])
    with pytest.raises(error, match=words):
        store.add([node("second"), bad])
    assert ids(store) == ["first"]


def test_delete_takes_the_nodes_of_the_document_and_nothing_else(store: M2MVectorStore) -> None:
    store.add([node("1", "doc"), node("2", "doc"), node("3", "other"), node("4"), node("doc")])
    store.delete("unknown")
    store.delete(None)  # type: ignore[arg-type]
    assert store.count() == 5
    store.delete("doc")
    store.delete("doc")
    assert ids(store) == ["3", "4"]


def test_delete_removes_a_source_less_node_by_its_own_id(store: M2MVectorStore) -> None:
    store.add([node("whole"), node("part", "whole-other"), node("None")])
    store.delete("whole")
    assert ids(store) == ["part", "None"]


def test_delete_spares_a_node_whose_own_id_is_the_document_but_whose_source_is_another(
    store: M2MVectorStore,
) -> None:
    store.add([node("x", "y"), node("z", "x")])
    store.delete("x")
    assert ids(store) == ["x"]


def test_delete_nodes_intersects_and_without_restriction_does_nothing(
    store: M2MVectorStore,
) -> None:
    store.add([node("a", kind=1), node("b", kind=1), node("c", kind=2)])
    store.delete_nodes()
    store.delete_nodes([])
    store.delete_nodes(filters=MetadataFilters(filters=[]))
    store.delete_nodes([], where(kind=1))
    store.delete_nodes(["unknown"])
    store.delete_nodes(["c"], where(kind=1))
    assert store.count() == 3
    store.delete_nodes(["a", "c"], where(kind=1))
    assert ids(store) == ["b", "c"]
    store.delete_nodes(filters=where(kind=2))
    assert ids(store) == ["b"]
    store.delete_nodes(["b"], MetadataFilters(filters=[]))
    assert ids(store) == []


def test_deletes_work_on_a_store_that_was_never_written(store: M2MVectorStore) -> None:
    store.delete("x")
    store.delete_nodes(["x"])
    store.delete_nodes(filters=where(kind=1))
    store.clear()
    assert (store.get_nodes(), store.get_nodes(["x"]), store.count()) == ([], [], 0)


def test_get_nodes_keeps_the_order_skips_unknown_ids_and_fills_embeddings(
    store: M2MVectorStore,
) -> None:
    store.add([node("a", kind=1), node("b", kind=2, vector=(0.5, 0.25)), node("c", kind=1)])
    assert store.get_nodes([]) == []
    assert [n.node_id for n in store.get_nodes(["c", "?", "a"])] == ["c", "a"]
    assert [n.node_id for n in store.get_nodes(filters=where(kind=1))] == ["a", "c"]
    assert [n.node_id for n in store.get_nodes(["b", "c"], where(kind=1))] == ["c"]
    assert store.get_nodes(["b"])[0].embedding == [0.5, 0.25]


def test_a_cleared_store_is_usable_at_once(store: M2MVectorStore) -> None:
    store.clear()
    store.add([node("a")])
    store.clear()
    assert store.count() == 0
    store.add([node("a"), node("b")])
    assert ids(store) == ["a", "b"]


def test_replace_ref_doc_swaps_the_nodes_of_one_document(store: M2MVectorStore) -> None:
    store.add([node("1", "doc"), node("2", "doc", text="old"), node("3", "other")])
    assert store.replace_ref_doc("doc", [node("2", "doc", text="new"), node("4", "doc")])
    assert sorted(ids(store)) == ["2", "3", "4"]
    assert store.get_nodes(["2"])[0].get_content() == "new"
    store.replace_ref_doc("doc", [])
    assert ids(store) == ["3"]


def test_replace_ref_doc_that_fails_leaves_the_old_nodes(store: M2MVectorStore) -> None:
    store.add([node("1", "doc")])
    with pytest.raises(InvalidInputError, match="belongs to document 'other'; expected 'doc'"):
        store.replace_ref_doc("doc", [node("2", "doc"), node("3", "other")])
    with pytest.raises(InvalidInputError, match="no embedding"):
        store.replace_ref_doc("doc", [TextNode(id_="doc", text="whole")])
    assert ids(store) == ["1"]


def test_documents_are_listed_and_nodes_counted(store: M2MVectorStore) -> None:
    assert store.list_ref_docs() == []
    store.add([node("1", "b", kind=1), node("2", "b", kind=2), node("3", "a"), node("alone")])
    assert store.list_ref_docs() == ["a", "alone", "b"]
    assert (store.count(), store.count(where(kind=1))) == (4, 1)


def test_nodes_with_differing_and_nested_metadata_live_together(store: M2MVectorStore) -> None:
    shapes: list[dict[str, Any]] = [
        {},
        {"a": None},
        {"a": [1, "x", None, {"b": [True]}]},
        {"a": {"b": {"c": 1.5}}, "z": "ü"},
        {"a": "text", "": "empty key"},
    ]
    store.add(TextNode(id_=str(i), embedding=[1.0], metadata=m) for i, m in enumerate(shapes))
    assert [found.metadata for found in store.get_nodes()] == shapes


def test_unknown_arguments_raise_and_name_the_near_one(store: M2MVectorStore) -> None:
    with pytest.raises(UnknownArgumentError, match="Did you mean 'collection_name'"):
        M2MVectorStore(collection="x")
    for call in (
        lambda: store.add([], batch=1),
        lambda: store.delete("x", force=True),
        lambda: store.delete_nodes(["x"], force=True),
    ):
        with pytest.raises(UnknownArgumentError, match=r"batch|force"):
            call()


def test_filters_of_another_kind_and_bare_strings_raise(store: M2MVectorStore) -> None:
    with pytest.raises(InvalidFilterError, match="expected MetadataFilters"):
        store.get_nodes(filters={"a": 1})  # type: ignore[arg-type]
    for call in (lambda: store.get_nodes("ab"), lambda: store.delete_nodes("ab")):  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match="expected a list"):
            call()


def test_several_collections_share_a_path_and_settings_must_fit(tmp_path: Path) -> None:
    with (
        M2MVectorStore(tmp_path, "one", embedder="model-a") as one,
        M2MVectorStore(tmp_path, "two", "l2") as two,
    ):
        one.add([node("x")])
        assert (one.count(), two.count(), two.metric) == (1, 0, "l2")
    with pytest.raises(CollectionExistsError, match="'l2', got 'cosine'"):
        M2MVectorStore(tmp_path, "two")
    with M2MVectorStore(tmp_path, "two", None) as two:
        assert two.metric == "l2"
    with pytest.raises(EmbedderMismatchError, match="model-a"):
        M2MVectorStore(tmp_path, "one", embedder="model-b")
    with pytest.raises(InvalidInputError, match="stores_text"):
        M2MVectorStore(stores_text=False)


def test_what_a_collection_held_without_llamaindex_is_read_as_text_nodes(tmp_path: Path) -> None:
    with M2MVectorStore(tmp_path) as store:
        store.client.add([[1.0, 0.0]], ids=["r"], texts=["plain"], metadatas=[{"k": 1}])
        (found,) = store.get_nodes(filters=where(k=1))
        assert type(found) is TextNode
        assert (found.node_id, found.text, found.metadata) == ("r", "plain", {"k": 1})
