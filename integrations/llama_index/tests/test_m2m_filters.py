"""Filters: a differential test against LlamaIndex, and a table where ours differs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
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
    {}, {"b": 1}, "ab%_", "A B", [True], [None, 0], [["a"]], ["A", 1],
]  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {},
    *({"x": value} for value in VALUES),
    *({"x": VALUES[i], "y": VALUES[-i - 1]} for i in range(len(VALUES))),
]

SCALARS: list[Any] = [
    "", "a", "A", "b", "B", "10", "1", "é", "2024-05-06", "%", "_", "b%", "A ",
    0, 1, 2, 10, 0.0, 1.0, 0.5, 2**53 + 1,
]  # fmt: skip
LISTS: list[Any] = [[], ["a"], ["a", "b"], [1, 2], [0], [1.0, 0.5], ["", "é"], ["A", "a"]]
OP = FilterOperator
RANGES = [OP.GT, OP.GTE, OP.LT, OP.LTE]
ASKED: list[tuple[FilterOperator, Any]] = [
    *product([OP.EQ, OP.NE, OP.CONTAINS], [*SCALARS, *LISTS]),
    *product(RANGES, SCALARS),
    *product([OP.IN, OP.NIN, OP.ANY, OP.ALL], LISTS),
    *product(
        [OP.TEXT_MATCH, OP.TEXT_MATCH_INSENSITIVE], [v for v in SCALARS if isinstance(v, str)]
    ),
    (OP.IS_EMPTY, None),
]
"""Every operator with every value that LlamaIndex answers."""

single = st.builds(
    lambda key, asked: MetadataFilter(key=key, operator=asked[0], value=asked[1]),
    st.sampled_from(["x", "y", "missing"]),
    st.sampled_from(ASKED),
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
    """Ask LlamaIndex about single filters; combine them here, as it refuses nesting.

    Ours differs where LlamaIndex raises TypeError, which is False here (ranges between unlike
    types, ``contains`` in a number, a text match of what is no string), and where it takes a
    string or a dictionary for a list.
    """
    if isinstance(filters, MetadataFilter):
        if is_no_list(filters, row.get(filters.key)):
            return False
        one = build_metadata_filter_fn(lambda _: row, MetadataFilters(filters=[filters]))
        try:
            return one("")
        except TypeError:
            return False
    parts = [expected(item, row) for item in filters.filters]
    if filters.condition == FilterCondition.NOT:
        return not any(parts)
    return any(parts) if filters.condition == FilterCondition.OR else all(parts)


@pytest.mark.parametrize("operator", OP)
def test_each_operator_agrees_with_llamaindex(
    rows: M2MVectorStore, operator: FilterOperator
) -> None:
    values = [value for asked, value in ASKED if asked == operator]
    assert values
    for value in values:
        one = MetadataFilter(key="x", operator=operator, value=value)
        found = rows.get_nodes(filters=MetadataFilters(filters=[one]))
        fitting = [i for i, row in enumerate(ROWS) if expected(one, row)]
        assert [int(node.node_id) for node in found] == fitting, value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(filters=trees)
def test_filters_agree_with_llamaindex(rows: M2MVectorStore, filters: MetadataFilters) -> None:
    found = [int(node.node_id) for node in rows.get_nodes(filters=filters)]
    assert found == [i for i, row in enumerate(ROWS) if expected(filters, row)]


def is_no_list(one: MetadataFilter, found: Any) -> bool:
    if one.operator == OP.CONTAINS:
        return isinstance(found, dict)
    return one.operator in (OP.ANY, OP.ALL) and isinstance(found, str | dict) and bool(one.value)


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
        ({"x": "abc"}, OP.CONTAINS, "b", True),
        ({"x": "aBc"}, OP.CONTAINS, "b", False),
        ({"x": ["abc"]}, OP.CONTAINS, "b", False),
        ({"x": 5}, OP.CONTAINS, 5, False),
        ({"x": {"b": 1}}, OP.CONTAINS, "b", False),
        ({"x": [True]}, OP.CONTAINS, 1, True),
        ({}, OP.CONTAINS, "b", False),
        ({"x": "abc"}, OP.ANY, ["b"], False),
        ({"x": ["a", "b"]}, OP.ANY, ["b", "c"], True),
        ({"x": ["a", "b"]}, OP.ANY, "b", True),
        ({"x": ["a", "b"]}, OP.ANY, [], False),
        ({"x": "ab"}, OP.ALL, ["a"], False),
        ({"x": ["a", "b"]}, OP.ALL, ["b", "a"], True),
        ({"x": ["a", "b"]}, OP.ALL, ["b", "c"], False),
        ({"x": ["a"]}, OP.ALL, "a", True),
        ({"x": 5}, OP.ALL, [], True),
        ({"x": None}, OP.ALL, [], False),
        ({}, OP.ALL, [], False),
        ({"x": "50 % of it"}, OP.TEXT_MATCH, "0 %", True),
        ({"x": "500"}, OP.TEXT_MATCH, "0%", False),
        ({"x": "Of it"}, OP.TEXT_MATCH, "of", False),
        ({"x": 5}, OP.TEXT_MATCH, "5", False),
        ({"x": ["of"]}, OP.TEXT_MATCH, "of", False),
        ({}, OP.TEXT_MATCH, "of", False),
        ({"x": "HAUPTSTRASSE"}, OP.TEXT_MATCH_INSENSITIVE, "straße", True),
    ],
)
def test_where_ours_differs_or_is_defined(
    row: dict[str, Any], operator: FilterOperator, value: Any, holds: bool
) -> None:
    assert match(row, "x", operator, value) is holds


@pytest.mark.parametrize("operator", OP)
def test_every_operator_is_there(operator: FilterOperator) -> None:
    one = MetadataFilter(key="x", value="a", operator=operator)
    assert to_where(MetadataFilters(filters=[one])) is not None


@pytest.mark.parametrize("operator", [OP.TEXT_MATCH, OP.TEXT_MATCH_INSENSITIVE])
@pytest.mark.parametrize("value", [None, 5, ["a"]])
def test_a_text_match_needs_a_text(operator: FilterOperator, value: Any) -> None:
    one = MetadataFilter(key="x", value=value, operator=operator)
    with pytest.raises(InvalidFilterError, match=rf"{operator.name} .*'x'.* expected a string"):
        to_where(MetadataFilters(filters=[one]))
    with pytest.raises(TypeError):
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
