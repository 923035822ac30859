"""The dictionary dialect: what it reads, and how it refuses."""

from __future__ import annotations

import datetime

import numpy as np
import pytest

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import And, Compare, Exists, Holds, In, Like, Not, Or, parse_where, substring

DAY = datetime.date(2024, 5, 6)


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
        ({"$nor": [{"a": 1}, {"b": 2}]}, Not(Or((Compare("a", "eq", 1), Compare("b", "eq", 2))))),
        ({"a": {"$neq": 1}}, Compare("a", "ne", 1)),
        ({"a": ["x"]}, Compare("a", "eq", ["x"])),
        ({"a": DAY}, Compare("a", "eq", DAY)),
        ({"a": {"$between": (1, 5)}}, And((Compare("a", "gte", 1), Compare("a", "lte", 5)))),
        ({"a": {"$contains": 1}}, Holds("a", (1,))),
        ({"a": {"$contains": "5_%"}}, Or((Holds("a", ("5_%",)), Like("a", r"%5\_\%%")))),
        ({"a": {"$not_contains": 1}}, Not(Holds("a", (1,)))),
        ({"a": {"$any": ["x", 1]}}, Holds("a", ("x", 1))),
        ({"a": {"$all": ["x", 1]}}, Holds("a", ("x", 1), every=True)),
        ({"a": {"$like": "x%"}}, Like("a", "x%")),
        ({"a": {"$ilike": "x%"}}, Like("a", "x%", ignore_case=True)),
        ({"a": {"$text": "x\\"}}, Like("a", "%x\\\\%", ignore_case=True)),
        ({"a": {"$empty": True}}, Or(tuple(Compare("a", "eq", v) for v in (None, "", [], {})))),
        (
            {"a": {"$not": {"$gt": 1, "$lt": 5}}},
            Not(And((Compare("a", "gt", 1), Compare("a", "lt", 5)))),
        ),
        ({"a": {"$not": {"$not": {"$gt": 1}}}}, Not(Not(Compare("a", "gt", 1)))),
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
        ({"a": {"$contain": 1}}, r"Did you mean '\$contains'"),
        ({"a": {"$gt": 1, "b": 2}}, "unknown filter operator 'b'"),
        ({"$xor": []}, r"unknown filter operator '\$xor'. Did you mean '\$or'.*\$nor"),
        ({"a": {"$or": [{"$gt": 1}]}}, r"\$or joins whole filters, as in {'\$or': \[{'a'"),
        ({"a": {"$not": 5}}, r"takes operators.*got 5\. For a value use \$ne"),
        ({"a": {"$not": {}}}, "takes operators"),
        ({"$not": [{"a": 1}]}, "takes filters .dictionaries., got list"),
        ({"a": {"$between": [1]}}, r"\$between takes \[lowest, highest\], got \[1\]"),
        ({"a": {"$between": {1, 2}}}, r"\$between takes \[lowest"),
        ({"a": {"$between": [1, None]}}, "got NoneType"),
        ({"a": {"$any": "x"}}, r"\$any takes a list of values, got str"),
        ({"a": {"$all": 5}}, r"\$all takes a list of values, got int"),
        ({"a": {"$all": [b"x"]}}, "got bytes"),
        ({"a": {"$empty": 0}}, r"\$empty takes True or False, got 0"),
        ({"a": {"$like": 5}}, r"\$like takes a string, got int"),
        ({"a": {"$ilike": ["x"]}}, r"\$ilike takes a string, got list"),
        ({"a": {"$text": None}}, r"\$text takes a string, got NoneType"),
        ({"a": {"$like": "x\\"}}, "ends with a lone backslash"),
        ({"a": {"$like": "\ud800"}}, "not valid Unicode"),
        ({"a": [{"$day": "2024-05-06"}]}, r"'\$day' is reserved"),
        ({"a": {"$eq": {1}}}, "got set"),
        ({"$eq": 1}, "stands under a key"),
        ({"$and": {"a": 1}}, "list of filters, got dict"),
        ({"$or": ["a"]}, "takes filters"),
        ({"$not": [1]}, "takes filters"),
        ({"a": {"$in": "abc"}}, "list of values, got str"),
        ({"a": {"$exists": 1}}, "True or False"),
        ({"a": {"$gt": None}}, "orders numbers, strings, dates or datetimes, got NoneType"),
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


LEAF = Compare("a", "eq", 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Like("a", 5), "expected a string to look for, got int"),
        (lambda: Like("a", "x", ignore_case=1), "'a': ignore_case is True or False, got 1"),
        (lambda: Compare("a", ">", 5), "op is one of eq, .*, got '>'. Did you mean 'gt'"),
        (lambda: Compare("a", "$lte", 5), r"got '\$lte'. Did you mean 'lte'"),
        (lambda: Compare("a", "neq", 5), "got 'neq'. Did you mean 'ne'"),
        (lambda: Compare("a", ["eq"], 5), r"got \['eq'\]"),
        (lambda: Compare(5, "eq", 5), "path: expected a string, got int"),
        (lambda: Compare("a" * 5000, "eq", 5), "5000 bytes; a path has at most 4096"),
        (lambda: In("a\0b", ()), "hold no NUL"),
        (lambda: In("a", "x"), "values of the filter on 'a': expected a tuple or list, got str"),
        (lambda: In("a", None), "expected a tuple or list, got NoneType"),
        (lambda: In("a", (), negated=None), "negated is True or False, got None"),
        (lambda: Holds("a", {1}), "expected a tuple or list, got set"),
        (lambda: Holds("a", (), every="all"), "every is True or False, got 'all'"),
        (lambda: Holds(None, ()), "path: expected a string, got NoneType"),
        (lambda: Exists("a", 1), "present is True or False, got 1"),
        (lambda: Exists("\ud800"), "not valid Unicode"),
        (lambda: And(part for part in [LEAF]), "parts of And.*got generator.*tuple"),
        (lambda: Or(None), "parts of Or: expected a tuple or list, got NoneType"),
        (lambda: Or(LEAF), "parts of Or: expected a tuple or list, got Compare"),
        (lambda: And(({"a": 1},)), r"And: expected a node.*got dict.*parse_where"),
        (lambda: Not("x"), "Not: expected a node of m2m_rag.filters, got str"),
        (lambda: substring("a", 5), "filter on 'a': expected a string, got int"),
    ],
)
def test_a_node_is_checked_where_it_is_made(make, message):
    with pytest.raises(InvalidFilterError, match=message):
        make()


def test_lists_in_nodes_are_made_tuples():
    parts, values = [LEAF], [1, 2]
    trees = And(parts), In("a", values), Holds("a", values)
    parts.clear()
    values.clear()
    assert trees == (And((LEAF,)), In("a", (1, 2)), Holds("a", (1, 2)))
    assert len({*trees}) == 3


def test_a_generator_of_parts_deletes_nothing(database):
    collection = database.create("c")
    collection.add(np.ones((3, 1)), metadatas=[{"a": n} for n in range(3)])
    with pytest.raises(InvalidFilterError, match="got generator"):
        collection.delete(where=And(Compare("a", "eq", n) for n in [1]))
    assert collection.count() == 3


class Broken(datetime.tzinfo):
    """A zone of a user that does not work."""

    def utcoffset(self, _):
        raise RuntimeError("no such zone")


def test_a_time_zone_that_fails_is_refused():
    moment = datetime.datetime(2024, 5, 6, tzinfo=Broken())
    for where in ({"a": moment}, {"a": {"$in": [[moment]]}}, Compare("a", "gt", moment)):
        with pytest.raises(InvalidFilterError, match="'a': the datetime's time zone fails"):
            parse_where(where)


def test_what_is_read_can_be_read_again():
    deep: dict = {"a": {"$contains": "x", "$not": {"$in": [1]}}}
    for _ in range(58):
        deep = {"b": 1, "$not": deep} if _ % 2 else {"$or": [deep]}
        try:
            tree = parse_where(deep)
        except InvalidFilterError:
            break
        assert parse_where(tree) == tree
    else:
        pytest.fail("the limit was not reached")
