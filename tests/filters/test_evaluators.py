"""The SQL evaluator gives what the plain one gives, for hostile keys, values and nesting too."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, tzinfo

import apsw
import pytest
from dialect_oracle import fits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metadata_strategies import AHEAD, FILTERS, METADATA, MOMENT, WHERES, alike

from m2m_rag.filters import (
    And,
    Compare,
    Exists,
    Holds,
    In,
    Like,
    Not,
    Or,
    contains,
    empty,
    matches,
    parse_where,
)
from m2m_rag.filters.sql import SQL_FUNCTIONS, to_sql
from m2m_rag.storage.metadata import decode_metadata, encode_metadata

UTC_MOMENT = MOMENT.replace(tzinfo=UTC)
OLD = datetime(1, 1, 2, tzinfo=AHEAD)


@pytest.fixture(scope="module")
def connection():
    with apsw.Connection(":memory:") as connection:
        for name, function in SQL_FUNCTIONS.items():
            connection.create_scalar_function(name, function, 2, deterministic=True)
        connection.execute("CREATE TABLE t(metadata TEXT)").fetchall()
        yield connection


def by_sql(connection, node, metadata):
    sql, parameters = to_sql(node)
    text = encode_metadata(metadata, "metadata")
    query = f"SELECT {sql} FROM (SELECT ? AS metadata)"
    return connection.execute(query, [*parameters, text]).get


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(node=FILTERS, metadata=METADATA)
@example(Compare("a", "eq", 9007199254740993), {"a": 9007199254740992.0})
@example(Compare("a", "gt", 9007199254740992.0), {"a": 9007199254740993})
@example(Compare("a.b", "eq", 1), {"a.b": None, "a": {"b": 1}})
@example(Compare("a", "eq", None), {"a": None})
@example(Compare("a", "eq", True), {"a": 1})
@example(In("a", ("\x00x",)), {"a": "\x00x"})
@example(Compare("a", "lt", "\U00010000"), {"a": "\uffff"})
@example(Like("a", "%\x00_", ignore_case=True), {"a": "X\x00Y"})
@example(Compare("a.b", "lt", MOMENT), {"a": {"b": date(2024, 5, 6)}})
@example(Exists("a.$daytime"), {"a": MOMENT.replace(tzinfo=UTC)})
@example(Exists("a.$naive"), {"a": MOMENT})
@example(Compare("a.$day", "eq", "2024-05-06"), {"a": date(2024, 5, 6)})
@example(Compare("a.b.$day", "eq", 1), {"a.b.$day": 1})
@example(Compare("a", "eq", {}), {"a": date(2024, 5, 6)})
def test_both_evaluators_agree(connection, node, metadata):
    assert by_sql(connection, node, metadata) == int(matches(node, metadata))


@settings(max_examples=700, deadline=None, derandomize=True)
@given(where=WHERES, metadata=METADATA)
def test_the_dialect_means_what_plain_loops_say(connection, where, metadata):
    node = parse_where(where)
    assert matches(node, metadata) == fits(where, metadata)
    assert by_sql(connection, node, metadata) == int(fits(where, metadata))


@settings(max_examples=1000, deadline=None, derandomize=True)
@given(pair=alike())
def test_so_it_does_where_the_operand_is_near(connection, pair):
    where, metadata = pair
    node = parse_where(where)
    assert matches(node, metadata) == fits(where, metadata)
    assert by_sql(connection, node, metadata) == int(fits(where, metadata))


def shown(value):
    return f"{type(value).__name__} {value.isoformat()}"


@settings(max_examples=500, deadline=None, derandomize=True)
@given(metadata=METADATA)
def test_metadata_comes_back_exactly(metadata):
    text = encode_metadata(metadata, "metadata")
    back = decode_metadata(text)
    assert back == metadata
    assert json.dumps(back, default=shown) == json.dumps(metadata, default=shown)


def test_a_record_of_an_older_version_keeps_what_looks_like_a_date():
    old = {"a": {"$day": "2024-05-06T07:08:09Z"}, "b": {"$datetime": 5}, "c": {"$naive": None}}
    assert decode_metadata(json.dumps(old, separators=(",", ":"))) == old


@pytest.mark.parametrize(
    ("node", "metadata", "expected"),
    [
        (Compare("a", "eq", 2), {"a": 2.0}, True),
        (Compare("a", "eq", "5"), {"a": 5}, False),
        (Compare("a", "eq", True), {"a": 1}, False),
        (Compare("a", "eq", 1), {"a": True}, False),
        (Compare("a", "ne", 1), {}, True),
        (Compare("a", "ne", None), {}, False),
        (Compare("a", "eq", None), {}, True),
        (Compare("a", "eq", None), {"a": None}, True),
        (Compare("a", "eq", [1, 2.0]), {"a": [1.0, 2]}, True),
        (Compare("a", "eq", {"x": 1}), {"a": {"x": True}}, False),
        (Compare("a", "gt", "b"), {"a": "ba"}, True),
        (Compare("a", "gt", 1), {"a": "2"}, False),
        (Compare("a", "gte", 0), {"a": True}, False),
        (Compare("a.b.c", "lt", 5), {"a": {"b": {"c": 4}}}, True),
        (Compare("a.b", "eq", 1), {"a.b": 2, "a": {"b": 1}}, False),
        (In("a", (1, "x", None)), {}, True),
        (In("a", ()), {"a": 1}, False),
        (In("a", (), negated=True), {}, True),
        (In("a", (1,), negated=True), {"a": 2}, True),
        (Exists("a"), {"a": None}, True),
        (Exists("a", present=False), {"b": 1}, True),
        (Not(Compare("a", "gt", 1)), {}, True),
        (contains("a", "b"), {"a": "abc"}, True),
        (contains("a", "B"), {"a": "abc"}, False),
        (contains("a", "b"), {"a": ["b"]}, True),
        (contains("a", "b"), {"a": ["abc"]}, False),
        (contains("a", "b"), {"a": {"b": 1}}, False),
        (contains("a", 1), {"a": [True, 1.0]}, True),
        (contains("a", 1), {"a": [True, "1"]}, False),
        (contains("a", 1), {"a": 1}, False),
        (contains("a", ""), {"a": ""}, True),
        (contains("a", None), {}, False),
        (contains("a", None), {"a": [None]}, True),
        (contains("a", [1]), {"a": [[1], 2]}, True),
        (Not(contains("a", "b")), {}, True),
        (Holds("a", ()), {"a": [1]}, False),
        (Holds("a", (), every=True), {"a": []}, True),
        (Holds("a", (), every=True), {"a": "x"}, False),
        (Holds("a", (), every=True), {}, False),
        (Holds("a", (1, 2), every=True), {"a": [2, 3, 1]}, True),
        (Holds("a", (1, 2), every=True), {"a": [2]}, False),
        (Holds("a", (1, 2)), {"a": [2]}, True),
        (Holds("a", ("b",)), {"a": "b"}, False),
        (Like("a", "b"), {"a": "abc"}, False),
        (Like("a", "%b%"), {"a": "abc"}, True),
        (Like("a", "_b_"), {"a": "abc"}, True),
        (Like("a", "_b_"), {"a": "aBc"}, False),
        (Like("a", "_b_", ignore_case=True), {"a": "aBc"}, True),
        (Like("a", "%ab"), {"a": "xabab"}, True),
        (Like("a", "a%a"), {"a": "a"}, False),
        (Like("a", r"50\%"), {"a": "50%"}, True),
        (Like("a", r"50\%"), {"a": "50 and more"}, False),
        (Like("a", "%"), {"a": ""}, True),
        (Like("a", ""), {"a": ""}, True),
        (Like("a", "%"), {"a": 5}, False),
        (Like("a", "a_c"), {"a": "a\nc"}, True),
        (Like("a", "_"), {"a": "😀"}, True),
        (Like("a", "strasse", ignore_case=True), {"a": "STRAẞE"}, True),
        (empty("a"), {}, True),
        (empty("a"), {"a": {}}, True),
        (empty("a"), {"a": 0}, False),
        (empty("a"), {"a": " "}, False),
        (Compare("a", "eq", MOMENT), {"a": MOMENT.replace(tzinfo=UTC)}, False),
        (Compare("a", "lte", MOMENT), {"a": MOMENT.replace(tzinfo=UTC)}, False),
        (Compare("a", "gte", date(2024, 5, 6)), {"a": MOMENT}, False),
        (Compare("a", "eq", date(2024, 5, 6)), {"a": "2024-05-06"}, False),
        (Compare("a", "gt", date(2024, 5, 6)), {"a": date(2024, 10, 1)}, True),
        (Compare("a", "lt", MOMENT), {"a": MOMENT - timedelta(microseconds=1)}, True),
        (Compare("a", "eq", UTC_MOMENT), {"a": UTC_MOMENT.astimezone(AHEAD)}, True),
        (Compare("a", "gt", UTC_MOMENT), {"a": MOMENT.replace(tzinfo=AHEAD)}, False),
        (Compare("a", "lt", OLD), {"a": OLD - timedelta(days=1)}, True),
        (In("a", (1, UTC_MOMENT)), {"a": UTC_MOMENT.astimezone(AHEAD)}, True),
        (In("a", (MOMENT, date(2024, 5, 6)), negated=True), {"a": UTC_MOMENT}, True),
        (Holds("a", (UTC_MOMENT,)), {"a": [UTC_MOMENT.astimezone(AHEAD)]}, True),
        (Compare("a", "eq", [{"b": MOMENT}]), {"a": [{"b": MOMENT}]}, True),
        (Exists("a.$daytime"), {"a": UTC_MOMENT}, False),
        (Exists("a"), {"a": UTC_MOMENT}, True),
        (And(()), {}, True),
        (Or(()), {}, False),
    ],
)
def test_the_published_meaning(connection, node, metadata, expected):
    assert matches(node, metadata) is expected
    assert by_sql(connection, node, metadata) == int(expected)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(n=st.sampled_from([2, 999, 5000]))
def test_thousands_of_branches_and_values(connection, n):
    some = Or(tuple(Compare("a", "eq", i) for i in range(n)))
    assert by_sql(connection, some, {"a": n - 1}) == 1
    assert by_sql(connection, some, {"a": n}) == 0
    listed = In("a", tuple(f"v{i}" for i in range(n * 20)))
    assert by_sql(connection, listed, {"a": f"v{n * 20 - 1}"}) == 1


class Berlin(tzinfo):
    """A zone in which 02:30 comes twice, as at the end of summer time."""

    def utcoffset(self, moment):
        return timedelta(hours=1 if moment.fold else 2)

    def dst(self, moment):
        return None


def test_an_hour_that_comes_twice_keeps_its_instant(connection):
    first = datetime(2024, 10, 27, 2, 30, tzinfo=Berlin())
    second = first.replace(fold=1)
    assert decode_metadata(encode_metadata({"a": second}, "m"))["a"].utcoffset() == timedelta(
        hours=1
    )
    for moment, hour in ((first, 0), (second, 1)):
        node = Compare("a", "eq", datetime(2024, 10, 27, hour, 30, tzinfo=UTC))
        assert matches(node, {"a": moment})
        assert by_sql(connection, node, {"a": moment}) == 1


def test_no_pattern_takes_long(connection):
    text, pattern = "a" * 20_000, "%a" * 200 + "%b"
    assert not matches(Like("a", pattern), {"a": text})
    assert by_sql(connection, Like("a", pattern), {"a": text}) == 0
