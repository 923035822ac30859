"""The SQL evaluator gives what the plain one gives, for hostile keys, values and nesting too."""

from __future__ import annotations

import json

import apsw
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from metadata_strategies import FILTERS, METADATA

from m2m_rag.filters import And, Compare, Exists, In, Not, Or, matches
from m2m_rag.filters.sql import SQL_FUNCTIONS, to_sql
from m2m_rag.storage.metadata import decode_metadata, encode_metadata


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
def test_both_evaluators_agree(connection, node, metadata):
    assert by_sql(connection, node, metadata) == int(matches(node, metadata))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(metadata=METADATA)
def test_metadata_comes_back_exactly(metadata):
    text = encode_metadata(metadata, "metadata")
    back = decode_metadata(text)
    assert json.dumps(back, sort_keys=True) == json.dumps(metadata, sort_keys=True)
    assert list(back) == list(metadata)


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
