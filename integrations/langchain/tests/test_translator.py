"""The translator: every operator and comparator, against plain Python loops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.structured_query import (
    Comparator,
    Comparison,
    FilterDirective,
    Operation,
    Operator,
    StructuredQuery,
)
from langchain_m2m import M2MTranslator, M2MVectorStore

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import matches

C = Comparator
DAY = {"type": "date", "date": "2024-05-06"}
MOMENT = {"type": "datetime", "datetime": "2024-05-06T07:08:09Z"}
SHOWN = {"type": "datetime", "datetime": "2024-05-06T07:08:09"}
VALUES: list[Any] = [
    None, "", "a", "ab", "B", "5", 0, 5, 5.0, -1.5, True, False, [], ["a"], ["ab", 5], [True],
    {"y": 1}, date(2024, 5, 6), date(2023, 1, 1), "2024-05-06", "2025-01-01",
    datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2024, 5, 6, 7, 8, 9),
    [date(2024, 5, 6)],
]  # fmt: skip
ROWS: list[dict[str, Any]] = [
    {},
    *({"x": value} for value in VALUES),
    *({"x": VALUES[i], "y": VALUES[-i - 1]} for i in range(len(VALUES))),
]

attributes = st.sampled_from(["x", "y", "missing"])
scalars = st.sampled_from(["", "a", "ab", "5", 0, 5, -1.5, DAY, MOMENT, SHOWN])
listed = st.lists(scalars | st.booleans(), max_size=3)
ordered = [C.GT, C.GTE, C.LT, C.LTE]
comparisons = st.one_of(
    st.builds(Comparison, st.sampled_from([C.EQ, C.NE]), attributes, scalars | st.booleans()),
    st.builds(Comparison, st.sampled_from([C.EQ, C.NE]), attributes, st.just(["a"])),
    st.builds(Comparison, st.sampled_from(ordered), attributes, scalars),
    st.builds(Comparison, st.just(C.CONTAIN), attributes, scalars),
    st.builds(Comparison, st.sampled_from([C.IN, C.NIN]), attributes, listed | scalars),
    st.builds(
        Comparison, st.just(C.LIKE), attributes, st.sampled_from(["", "%", "a", "a%", "_b", "%b"])
    ),
)
directives: st.SearchStrategy[FilterDirective] = st.recursive(
    comparisons,
    lambda inner: st.builds(
        Operation, st.sampled_from(Operator), st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=5,
)


def expected(directive: FilterDirective, row: dict[str, Any]) -> bool:
    if isinstance(directive, Operation):
        found = [expected(part, row) for part in directive.arguments]
        if directive.operator == Operator.NOT:
            return not any(found)
        return all(found) if directive.operator == Operator.AND else any(found)
    assert isinstance(directive, Comparison)
    return compared(directive.comparator, row.get(directive.attribute), directive.value)


def compared(comparator: Comparator, found: Any, value: Any) -> bool:
    if comparator in (C.NE, C.NIN):
        return not compared(C.EQ if comparator == C.NE else C.IN, found, value)
    if comparator == C.IN:
        return any(compared(C.EQ, found, one) for one in listed_of(value))
    if isinstance(value, dict):
        text = value[value["type"]]
        stored = date.fromisoformat if value["type"] == "date" else datetime.fromisoformat
        return any(compared(comparator, found, form) for form in (stored(text), text))
    if comparator == C.EQ:
        return same_kind(found, value) and bool(found == value)
    if comparator == C.CONTAIN:
        if isinstance(found, list):
            return any(same_kind(item, value) and item == value for item in found)
        return isinstance(found, str) and isinstance(value, str) and value in found
    if comparator == C.LIKE:
        pattern = value.replace("%", ".*").replace("_", ".")
        return isinstance(found, str) and re.fullmatch(pattern, found, re.DOTALL) is not None
    if not same_kind(found, value):
        return False
    outcome = {C.GT: found > value, C.GTE: found >= value, C.LT: found < value}
    return bool(outcome.get(comparator, found <= value))


def listed_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def same_kind(found: Any, value: Any) -> bool:
    return kind(found) == kind(value)


def kind(value: Any) -> Any:
    if isinstance(value, datetime):
        return datetime, value.tzinfo is None
    return float if type(value) is int else type(value)


@pytest.fixture(scope="module")
def rows() -> Iterator[M2MVectorStore]:
    with M2MVectorStore() as store:
        store.add_embeddings(
            [("", [1.0])] * len(ROWS), ROWS, ids=[str(number) for number in range(len(ROWS))]
        )
        yield store


@settings(max_examples=300, deadline=None, derandomize=True)
@given(directive=directives)
def test_translations_agree_with_plain_loops(
    rows: M2MVectorStore, directive: FilterDirective
) -> None:
    _, arguments = M2MTranslator().visit_structured_query(StructuredQuery("q", directive))
    fitting = [i for i, row in enumerate(ROWS) if expected(directive, row)]
    assert [int(id) for id in rows.list_ids(filter=arguments["filter"])] == fitting


def test_all_operators_and_comparators_are_allowed() -> None:
    assert set(M2MTranslator.allowed_operators) == set(Operator)
    assert set(M2MTranslator.allowed_comparators) == set(Comparator)


def test_a_query_without_a_filter_adds_nothing() -> None:
    assert M2MTranslator().visit_structured_query(StructuredQuery("fox", None, 3)) == ("fox", {})


def test_a_search_takes_the_translation(store: M2MVectorStore) -> None:
    store.add_texts(
        ["red fox", "red bear", "old fox"],
        [{"seen": date(2024, 5, 6)}, {"seen": "2024-07-01"}, {"seen": date(2023, 1, 1)}],
    )
    after = Comparison(C.GTE, "seen", DAY)
    query, arguments = M2MTranslator().visit_structured_query(StructuredQuery("fox", after))
    found = store.search(query, "similarity", k=5, **arguments)
    assert [document.page_content for document in found] == ["red fox", "red bear"]


@pytest.mark.parametrize(
    "value",
    [{}, {"type": "date"}, {"type": "date", "date": "May"}, {"type": "datetime", "datetime": 5}],
)
def test_a_value_that_is_none_is_named(value: Any) -> None:
    with pytest.raises(InvalidFilterError, match="comparison of 'x' got .*YYYY-MM-DD"):
        M2MTranslator().visit_comparison(Comparison(C.EQ, "x", value))


def test_a_lower_case_z_is_utc() -> None:
    moment = {"type": "datetime", "datetime": "2024-05-06T07:08:09z"}
    node = M2MTranslator().visit_comparison(Comparison(C.EQ, "x", moment))
    assert matches(node, {"x": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)})
