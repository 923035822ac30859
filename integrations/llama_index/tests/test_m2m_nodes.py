"""Nodes come back as what they were: class, fields, relationships, hash, hostile keys."""

from __future__ import annotations

import datetime
import decimal
import json
import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.m2m import M2MVectorStore
from llama_index.vector_stores.m2m._keys import escape, unescape

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


class Passage(TextNode):
    """A user's own node class."""

    page: int = 0
    spans: list[tuple[int, int]] = Field(default_factory=list)


def back(store: M2MVectorStore, node: BaseNode) -> BaseNode:
    store.add([node])
    return store.get_nodes([node.node_id])[0]


def related(name: str, **metadata: Any) -> RelatedNodeInfo:
    return RelatedNodeInfo(
        node_id=name, node_type=ObjectType.TEXT, metadata=metadata, hash="h" + name
    )


def test_a_text_node_comes_back_field_by_field(store: M2MVectorStore) -> None:
    node = TextNode(
        text="line one\r\nline two\u2028\x00 é 🙂",
        embedding=[0.5, -0.25],
        metadata={"z": 1, "a": [1.5, None, {"k": "v"}], "m": {"deep": {"er": True}}},
        excluded_embed_metadata_keys=["z"],
        excluded_llm_metadata_keys=["a"],
        metadata_template="{key}={value}",
        metadata_separator=" | ",
        text_template="{metadata_str} :: {content}",
        start_char_idx=3,
        end_char_idx=9,
        mimetype="text/markdown",
        relationships={
            NodeRelationship.SOURCE: related("doc", z=1),
            NodeRelationship.PREVIOUS: related("p", z=1, a=[1.5, None, {"k": "v"}]),
            NodeRelationship.NEXT: related("n"),
            NodeRelationship.CHILD: [related("c1", x=2), related("c2")],
        },
    )
    found = back(store, node)
    assert type(found) is TextNode
    assert found == node
    assert found.hash == node.hash
    assert list(found.metadata) == ["z", "a", "m"]


@pytest.mark.parametrize(
    "node",
    [
        Node(text_resource=MediaResource(text="both"), image_resource=MediaResource(data=PNG)),
        Node(audio_resource=MediaResource(data=b"RIFF\x00\x00\x00\x00WAVEfmt ")),
        Node(text_resource=MediaResource(text="", embeddings={"dense": [1.0]})),
        Document(text="a whole document", metadata={"author": "x"}, id_="my-doc"),
        ImageDocument(image=PNG, text="caption"),
        ImageNode(image="aGk=", image_mimetype="image/png", text="alt", text_embedding=[0.5]),
        Passage(text="own", page=7, spans=[(1, 2)]),
    ],
    ids=lambda node: type(node).__name__,
)
def test_every_class_comes_back_equal(store: M2MVectorStore, node: BaseNode) -> None:
    node.embedding = [1.0, 0.0]
    found = back(store, node)
    assert type(found) is type(node)
    assert found == node
    assert found.hash == node.hash


@pytest.mark.parametrize(
    "obj", [TextNode(id_="inner", text="the table", metadata={"rows": 3}), Document(text="d"), None]
)
def test_an_index_node_keeps_its_id_and_object(store: M2MVectorStore, obj: Any) -> None:
    found = back(store, IndexNode(text="summary", index_id="t1", obj=obj, embedding=[1.0]))
    assert isinstance(found, IndexNode)
    assert (found.index_id, found.obj) == ("t1", obj)


def test_an_unloaded_class_comes_back_as_its_nearest_base_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with M2MVectorStore() as store:
        store.add([Passage(id_=str(i), text="own", page=7, embedding=[1.0]) for i in range(3)])
        for record in store.client.get():
            kept = record.metadata["_m2m_node"]
            kept["types"][0] = "gone:Missing"
            store.client.update([record.id], [{**record.metadata, "_m2m_node": kept}])
        with caplog.at_level(logging.WARNING):
            found = store.get_nodes()
    assert {type(node) for node in found} == {TextNode}
    assert [r.message for r in caplog.records if "gone:Missing" in r.message] != []
    assert len(caplog.records) == 1


def test_values_that_json_lacks_are_coerced_as_llamaindex_does(store: M2MVectorStore) -> None:
    metadata = {
        "when": datetime.datetime(2024, 5, 6, 7, 8, tzinfo=datetime.UTC),
        "day": datetime.date(2024, 5, 6),
        "price": decimal.Decimal("1.50"),
        "pair": (1, 2),
        "keys": {1: "one"},
        "nan": float("nan"),
    }
    node = TextNode(text="x", metadata=metadata, embedding=[1.0])
    assert back(store, node).metadata == node.model_dump(mode="json")["metadata"]


def test_numpy_scalars_and_arrays_become_numbers_and_lists(store: M2MVectorStore) -> None:
    metadata = {
        "f": np.float32(0.5),
        "i": np.int64(7),
        "b": np.bool_(True),
        "s": np.str_("s"),
        "v": np.arange(3),
        "deep": [{"x": np.float16(2.0)}],
    }
    found = back(store, TextNode(text="x", metadata=metadata, embedding=[1.0])).metadata
    assert json.dumps(found) == json.dumps(
        {"f": 0.5, "i": 7, "b": True, "s": "s", "v": [0, 1, 2], "deep": [{"x": 2.0}]}
    )


HOSTILE = [
    "_m2m_node",
    "__m2m_node",
    "_m2m_id",
    "_m2m_doc",
    "_m2m_doc.x",
    "_m2m_nodes",
    "_node_content",
    "doc_id",
    "ref_doc_id",
    "",
    " ",
    "a.b",
    "a.",
    ".",
    "$eq",
    "$.a",
    "'; DROP TABLE records; --",
    'x" OR 1=1 --',
    "back\\slash",
    "新しい",
    "a[0]",
    "text",
    "id",
    "embedding",
]


def test_hostile_keys_and_values_are_kept_and_filter_exactly(store: M2MVectorStore) -> None:
    store.add(
        TextNode(id_=f"n{i}", embedding=[1.0], metadata={key: HOSTILE[i - 1]})
        for i, key in enumerate(HOSTILE)
    )
    store.add([TextNode(id_="all", embedding=[1.0], metadata=dict.fromkeys(HOSTILE, "other"))])
    assert list(store.get_nodes(["all"])[0].metadata) == HOSTILE
    for i, key in enumerate(HOSTILE):
        one = MetadataFilters(filters=[MetadataFilter(key=key, value=HOSTILE[i - 1])])
        found = store.get_nodes(filters=one)
        assert [(n.node_id, n.metadata) for n in found] == [(f"n{i}", {key: HOSTILE[i - 1]})], key


@given(st.text(alphabet="_m2nodeic.x", max_size=14))
def test_escaping_is_reversible_and_never_reserved(key: str) -> None:
    assert unescape(escape(key)) == key
    assert escape(key) not in ("_m2m_id", "_m2m_doc", "_m2m_node")


def test_text_and_metadata_are_stored_once() -> None:
    text, value = "needle in the text", "needle in the metadata"
    relation = RelatedNodeInfo(node_id="doc", metadata={"key": value})
    node = TextNode(
        text=text,
        metadata={"key": value},
        embedding=[1.0],
        relationships=dict.fromkeys([NodeRelationship.SOURCE, NodeRelationship.NEXT], relation),
    )
    with M2MVectorStore() as store:
        assert back(store, node) == node
        store.add([Document(text=text, metadata={"key": value}, embedding=[1.0])])
        for record in store.client.get():
            whole = json.dumps([record.text, record.metadata])
            assert (whole.count(text), whole.count(value)) == (1, 1)


def test_a_relations_metadata_keeps_its_types(store: M2MVectorStore) -> None:
    source = RelatedNodeInfo(node_id="d", metadata={"flag": True})
    node = TextNode(
        id_="a",
        embedding=[1.0],
        metadata={"flag": 1},
        relationships={NodeRelationship.SOURCE: source},
    )
    store.add([node])
    (found,) = store.get_nodes()
    assert found.source_node is not None
    assert found.source_node.metadata["flag"] is True
    assert found.metadata["flag"] == 1
    assert found.metadata["flag"] is not True
