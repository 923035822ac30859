"""The dictionary dialect: what it reads, and how it refuses."""

from __future__ import annotations

import pytest

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import And, Compare, Exists, In, Not, Or, parse_where


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, None),
        ({}, And(())),
        ({"a": 1}, Compare("a", "eq", 1)),
        ({"a": None}, Compare("a", "eq", None)),
        ({"a": {"x": 1}}, Compare("a", "eq", {"x": 1})),
        ({"a": {}}, Compare("a", "eq", {})),
        ({"a": {"$gte": 1, "$lt": 5}}, And((Compare("a", "gte", 1), Compare("a", "lt", 5)))),
        ({"a": {"$in": ["x"]}, "b": {"$nin": (1,)}}, And((In("a", ("x",)), In("b", (1,), True)))),
        ({"a": {"$exists": False}}, Exists("a", False)),
        (
            {"$or": [{"a": 1}, {"b": {"$ne": 2}}]},
            Or((Compare("a", "eq", 1), Compare("b", "ne", 2))),
        ),
        ({"$not": {"a": 1}}, Not(Compare("a", "eq", 1))),
        ({"$and": [Compare("a", "eq", 1)]}, And((Compare("a", "eq", 1),))),
        (Compare("a", "eq", 1), Compare("a", "eq", 1)),
    ],
)
def test_reads(where, expected):
    assert parse_where(where) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"a": {"$gte ": 1}}, r"unknown filter operator '\$gte '. Did you mean '\$gte'"),
        ({"a": {"$neq": 1}}, r"Did you mean '\$ne'"),
        ({"a": {"$gt": 1, "b": 2}}, "unknown filter operator 'b'"),
        ({"$nor": []}, "unknown filter operator '\\$nor'.*\\$or"),
        ({"$eq": 1}, "stands under a key"),
        ({"$and": {"a": 1}}, "list of filters, got dict"),
        ({"$or": ["a"]}, "takes filters"),
        ({"$not": [1]}, "takes filters"),
        ({"a": {"$in": "abc"}}, "list of values, got str"),
        ({"a": {"$exists": 1}}, "True or False"),
        ({"a": {"$gt": None}}, "orders numbers or strings, got NoneType"),
        ({"a": {"$gt": True}}, "got bool"),
        ({"a": float("nan")}, "not a finite number"),
        ({"a": 2**63}, "64-bit"),
        ({"a": (1, 2)}, "got tuple"),
        ({"a": object()}, "got object"),
        ({"a": "\ud800"}, "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        ({1: 2}, "keys are strings"),
        ({"a\x00": 2}, "hold no NUL"),
        ("a = 1", "a filter is a dictionary"),
        (["a"], "a filter is a dictionary"),
        (Compare("a", "eq", b"x"), "got bytes"),
        (Not("x"), "a filter is a dictionary"),
    ],
)
def test_refuses(where, message):
    with pytest.raises(InvalidFilterError, match=message):
        parse_where(where)


def test_depth_is_limited():
    deep: dict = {"a": 1}
    for _ in range(70):
        deep = {"$not": deep}
    with pytest.raises(InvalidFilterError, match="nests deeper than 64"):
        parse_where(deep)
