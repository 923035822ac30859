"""Nodes as records and back: text once, metadata once, the class and every field kept.

``record.metadata[NODE_KEY]`` holds ``types`` (the node's class and its bases, nearest first) and
``rest`` (the fields that have no place elsewhere, as JSON). Values that JSON lacks are coerced as
LlamaIndex does (``model_dump(mode="json")``): dates become ISO strings, tuples and sets lists,
NaN and infinity null; numpy scalars and arrays become numbers and lists.
"""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from llama_index.core.schema import BaseNode, Document, MediaResource, TextNode
from llama_index.vector_stores.m2m._keys import DOC_KEY, ID_KEY, NODE_KEY, escape, unescape
from pydantic_core import PydanticSerializationError, to_json

from m2m_rag import Hit, Record
from m2m_rag.errors import InvalidInputError

logger = logging.getLogger(__name__)

_PLAIN = {"types": ["TextNode"], "rest": "{}"}
"""The `NODE_KEY` of a record that was not stored through LlamaIndex."""


class NodeParts(NamedTuple):
    """What a collection stores of one node."""

    id: str
    vector: list[float]
    text: str | None
    metadata: dict[str, Any]


def to_parts(node: BaseNode) -> NodeParts:
    """Take a node apart for storing.

    Raises
    ------
    InvalidInputError
        Not a node, no embedding, or a field that can't be written as JSON.
    """
    if not isinstance(node, BaseNode):
        raise InvalidInputError(
            f"got a {type(node).__name__} where a LlamaIndex node was expected; wrap a text as "
            "TextNode(text=..., embedding=...)"
        )
    if node.embedding is None:
        raise InvalidInputError(
            f"node {node.node_id!r} has no embedding; expected node.embedding to be set. Add nodes "
            "through VectorStoreIndex or an IngestionPipeline with an embedding model, or embed "
            "them first"
        )
    rest = _dump(node)
    rest.pop("class_name", None)
    metadata = rest.pop("metadata")
    text = _take_text(node, rest)
    for related in _related(rest):
        if json.dumps(related["metadata"]) == json.dumps(metadata):  # == takes True for 1
            related["metadata"] = None
    stored = {escape(key): value for key, value in metadata.items()}
    stored[ID_KEY] = rest.pop("id_")
    stored[DOC_KEY] = node.ref_doc_id or node.node_id
    stored[NODE_KEY] = {
        "types": [_name(kind) for kind in type(node).__mro__ if _is_concrete(kind)],
        "rest": json.dumps(rest, ensure_ascii=False, separators=(",", ":")),
    }
    return NodeParts(node.node_id, node.embedding, text, stored)


class NodeReader:
    """Rebuilds nodes from records; made for one call, so that it knows the classes loaded now."""

    def __init__(self) -> None:
        self._loaded = {_name(kind): kind for kind in _subclasses() if _is_concrete(kind)}
        self._missing: set[str] = set()

    def read(self, record: Record | Hit) -> BaseNode:
        """Return the node of a record; one that no node was stored in becomes a `TextNode`.

        The embedding is filled when the record carries its vector.
        """
        metadata = dict(record.metadata)
        kept = metadata.pop(NODE_KEY, _PLAIN)
        for key in (ID_KEY, DOC_KEY):
            metadata.pop(key, None)
        data: dict[str, Any] = json.loads(kept["rest"])
        data["id_"] = record.id
        data["metadata"] = {unescape(key): value for key, value in metadata.items()}
        for related in _related(data):
            if related["metadata"] is None:
                related["metadata"] = dict(data["metadata"])
        if isinstance(data.get("text_resource"), dict):
            data["text_resource"]["text"] = record.text
        elif "text_resource" not in data and record.text is not None:
            data["text"] = record.text
        if record.vector is not None:
            data["embedding"] = record.vector.tolist()
        return self._class_of(kept["types"]).from_dict(data)

    def _class_of(self, types: list[str]) -> type[BaseNode]:
        found = next((name for name in types if name in self._loaded), "TextNode")
        if found != types[0] and types[0] not in self._missing:
            self._missing.add(types[0])
            logger.warning(
                "the node class %s is not loaded, so its nodes are returned as %s without their "
                "own fields; import the module that defines it first",
                types[0],
                found,
            )
        return self._loaded[found]


def _dump(node: BaseNode) -> dict[str, Any]:
    try:
        dumped = to_json(node, exclude={"embedding"}, by_alias=False, fallback=_from_numpy)
    except (PydanticSerializationError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"node {node.node_id!r} can't be written as JSON: {error}. Expected metadata of "
            "strings, numbers, bools, None, dates, lists and dictionaries"
        ) from error
    data: dict[str, Any] = json.loads(dumped)
    for name in type(node).model_fields:  # the bytes of media, which LlamaIndex's dump leaves out
        value = getattr(node, name)
        if isinstance(value, MediaResource) and value.data is not None:
            data[name]["data"] = value.data.decode("ascii")
    return data


def _from_numpy(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"a value of type {type(value).__name__}")


def _take_text(node: BaseNode, rest: dict[str, Any]) -> str | None:
    if isinstance(node, Document):
        del rest["text"]  # a second copy of text_resource.text
    holder = rest if isinstance(node, TextNode) else rest.get("text_resource")
    text: str | None = holder.pop("text") if isinstance(holder, dict) else None
    return text


def _related(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for relation in data.get("relationships", {}).values():
        yield from relation if isinstance(relation, list) else [relation]


def _subclasses() -> Iterator[type[BaseNode]]:
    """Yield every loaded node class, those defined later after earlier ones of one base."""
    waiting = BaseNode.__subclasses__()
    for kind in waiting:
        waiting.extend(kind.__subclasses__())
        yield kind


def _is_concrete(kind: type) -> bool:
    return issubclass(kind, BaseNode) and not inspect.isabstract(kind)


def _name(kind: type) -> str:
    """Name a class: LlamaIndex's own by the bare name, others with their module."""
    if kind.__module__.startswith("llama_index.core."):
        return kind.__qualname__
    return f"{kind.__module__}:{kind.__qualname__}"
