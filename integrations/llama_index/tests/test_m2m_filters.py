"""Filters: a differential test against LlamaIndex, and a table where ours differs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.core.vector_stores.utils import build_metadata_filter_fn
from llama_index.vector_stores.m2m import M2MVectorStore
from llama_index.vector_stores.m2m._filters import to_where

from m2m_rag.errors import InvalidFilterError

VALUES: list[Any] = [
    None, "", "a", "b", "B", "10", "9", "1", "é", "2024-05-06", 0, 1, 2, -1, 10, 2**53 + 1,
    0.0, 1.0, 0.5, -0.5, 1e300, True, False, [], ["a"], ["a", "b"], [1, 2], [1.0, 2.0],
    {}, {"b": 1},
]  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {},
    *({"x": value} for value in VALUES),
    *({"x": VALUES[i], "y": VALUES[-i - 1]} for i in range(len(VALUES))),
]

scalars = st.sampled_from(
    ["", "a", "b", "10", "1", "é", "2024-05-06", 0, 1, 2, 10, 0.0, 1.0, 0.5, 2**53 + 1]
)
lists = st.sampled_from([[], ["a"], ["a", "b"], [1, 2], [0], [1.0, 0.5], ["", "é"]])
keys = st.sampled_from(["x", "y", "missing"])
OP = FilterOperator
single = st.one_of(
    st.builds(
        MetadataFilter,
        key=keys,
        value=scalars,
        operator=st.sampled_from([OP.EQ, OP.NE, OP.GT, OP.GTE, OP.LT, OP.LTE]),
    ),
    st.builds(
        MetadataFilter,
        key=keys,
        value=lists,
        operator=st.sampled_from([OP.EQ, OP.NE, OP.IN, OP.NIN]),
    ),
    st.builds(MetadataFilter, key=keys, value=st.none(), operator=st.just(OP.IS_EMPTY)),
)
conditions = st.sampled_from([*FilterCondition, None])
trees = st.recursive(
    st.builds(
        MetadataFilters, filters=st.lists(single, min_size=1, max_size=3), condition=conditions
    ),
    lambda inner: st.builds(
        MetadataFilters,
        filters=st.lists(st.one_of(single, inner), min_size=1, max_size=3),
        condition=conditions,
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def rows() -> Iterator[M2MVectorStore]:
    with M2MVectorStore() as store:
        store.add(TextNode(id_=str(i), embedding=[1.0], metadata=row) for i, row in enumerate(ROWS))
        yield store


def expected(filters: MetadataFilters | MetadataFilter, row: dict[str, Any]) -> bool:
    """Ask LlamaIndex about single filters; combine them here, as it refuses nesting."""
    if isinstance(filters, MetadataFilter):
        one = build_metadata_filter_fn(lambda _: row, MetadataFilters(filters=[filters]))
        try:
            return one("")
        except TypeError:  # a range between unlike types
            return False
    parts = [expected(item, row) for item in filters.filters]
    if filters.condition == FilterCondition.NOT:
        return not any(parts)
    return any(parts) if filters.condition == FilterCondition.OR else all(parts)


@settings(max_examples=150, deadline=None)
@given(filters=trees)
def test_filters_agree_with_llamaindex(rows: M2MVectorStore, filters: MetadataFilters) -> None:
    found = [int(node.node_id) for node in rows.get_nodes(filters=filters)]
    assert found == [i for i, row in enumerate(ROWS) if expected(filters, row)]


def match(row: dict[str, Any], key: str, operator: FilterOperator, value: Any) -> bool:
    with M2MVectorStore() as store:
        store.add([TextNode(id_="n", embedding=[1.0], metadata=row)])
        one = MetadataFilter(key=key, value=value, operator=operator)
        return store.count(MetadataFilters(filters=[one])) == 1


@pytest.mark.parametrize(
    ("row", "operator", "value", "holds"),
    [
        ({}, OP.EQ, None, True),
        ({"x": None}, OP.EQ, None, True),
        ({"x": 0}, OP.EQ, None, False),
        ({}, OP.NE, None, False),
        ({"x": 0}, OP.NE, None, True),
        ({"x": "5"}, OP.EQ, 5, False),
        ({"x": 2}, OP.EQ, 2.0, True),
        ({"x": True}, OP.EQ, 1, True),
        ({"x": False}, OP.EQ, 0.0, True),
        ({"x": True}, OP.NE, 1, False),
        ({"x": True}, OP.IN, [0, 1], True),
        ({"x": True}, OP.GT, 0, True),
        ({"x": "abc"}, OP.GT, 5, False),
        ({"x": "abc"}, OP.LTE, 5, False),
        ({"x": "b"}, OP.IN, "abc", False),
        ({"x": "abc"}, OP.IN, "abc", True),
        ({"x": "b"}, OP.NIN, "abc", True),
        ({"x": "a"}, OP.IN, [], False),
        ({"x": "a"}, OP.NIN, [], True),
        ({"x": [True]}, OP.EQ, [1], False),
    ],
)
def test_where_ours_differs_or_is_defined(
    row: dict[str, Any], operator: FilterOperator, value: Any, holds: bool
) -> None:
    assert match(row, "x", operator, value) is holds


@pytest.mark.parametrize(
    "operator", [OP.CONTAINS, OP.ANY, OP.ALL, OP.TEXT_MATCH, OP.TEXT_MATCH_INSENSITIVE]
)
def test_an_operator_that_is_not_there_raises_and_is_named(operator: FilterOperator) -> None:
    one = MetadataFilter(key="x", value=["a"], operator=operator)
    with pytest.raises(InvalidFilterError, match=rf"operator {operator.name} .*'x'"):
        to_where(MetadataFilters(filters=[one]))


@pytest.mark.parametrize("value", [None, ["a"]])
def test_a_range_needs_a_number_or_a_string(value: Any) -> None:
    one = MetadataFilter(key="x", value=value, operator=OP.GT)
    with pytest.raises(InvalidFilterError, match="GT"):
        to_where(MetadataFilters(filters=[one]))


@pytest.mark.parametrize("condition", [*FilterCondition, None])
def test_empty_filters_restrict_nothing_however_deep(condition: FilterCondition | None) -> None:
    empty = MetadataFilters(filters=[], condition=condition)
    assert to_where(None) is None
    assert to_where(empty) is None
    assert to_where(MetadataFilters(filters=[empty, empty], condition=condition)) is None


def source(doc: str) -> dict[NodeRelationship, RelatedNodeInfo]:
    return {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=doc)}


@pytest.mark.parametrize("key", ["doc_id", "document_id", "ref_doc_id"])
def test_document_keys_mean_the_source_unless_the_user_has_the_key(
    store: M2MVectorStore, key: str
) -> None:
    store.add(
        [
            TextNode(id_="plain", embedding=[1.0], relationships=source("D")),
            TextNode(id_="own", embedding=[1.0], relationships=source("D"), metadata={key: "mine"}),
            TextNode(id_="null", embedding=[1.0], relationships=source("D"), metadata={key: None}),
            TextNode(id_="D2", embedding=[1.0]),
        ]
    )

    def found(operator: FilterOperator, value: Any) -> list[str]:
        one = MetadataFilter(key=key, value=value, operator=operator)
        return [n.node_id for n in store.get_nodes(filters=MetadataFilters(filters=[one]))]

    assert found(OP.EQ, "D") == ["plain"]
    assert found(OP.EQ, "mine") == ["own"]
    assert found(OP.EQ, "D2") == ["D2"]
    assert found(OP.NE, "D") == ["own", "null", "D2"]
    assert found(OP.IN, ["D", "mine"]) == ["plain", "own"]
    assert found(OP.NIN, ["D", "mine"]) == ["null", "D2"]
    assert store.get_nodes(["own"])[0].metadata == {key: "mine"}


def test_dots_descend_unless_the_key_is_spelt_so(store: M2MVectorStore) -> None:
    store.add(
        [
            TextNode(id_="nested", embedding=[1.0], metadata={"a": {"b": 1}}),
            TextNode(id_="exact", embedding=[1.0], metadata={"a.b": 1}),
            TextNode(id_="both", embedding=[1.0], metadata={"a.b": 2, "a": {"b": 1}}),
        ]
    )
    one = MetadataFilters(filters=[MetadataFilter(key="a.b", value=1)])
    assert [n.node_id for n in store.get_nodes(filters=one)] == ["nested", "exact"]
