"""Dictionary filters mean what the same condition means as a plain function of a document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest
from langchain_m2m import M2MVectorStore

from m2m_rag.errors import InvalidFilterError

Metadata = dict[str, Any]
DAY = date(2024, 5, 6)
ROWS: list[Metadata] = [
    {"n": 1, "name": "adam", "tags": ["a", "b"], "on": True, "day": DAY},
    {"n": 2.5, "name": "Bob", "tags": ["b"], "on": False, "size": {"h": 3}},
    {"n": "2", "name": "jane 50%", "tags": [], "day": "2024-05-06"},
    {"n": None, "name": "", "tags": "ab", "size": {"h": "3"}},
    {"name": "ADAM_2", "size.h": 3, "day": date(2024, 6, 1)},
    {},
]


def number(value: Any) -> bool:
    return type(value) in (int, float)


SAME: list[tuple[Metadata, Callable[[Metadata], bool]]] = [
    ({"name": "adam"}, lambda m: m.get("name") == "adam"),
    ({"name": {"$eq": "adam"}}, lambda m: m.get("name") == "adam"),
    ({"on": True}, lambda m: m.get("on") is True),
    ({"n": 1}, lambda m: number(m.get("n")) and m["n"] == 1),
    ({"n": None}, lambda m: m.get("n") is None),
    ({"name": {"$ne": "adam"}}, lambda m: m.get("name") != "adam"),
    ({"name": {"$neq": "adam"}}, lambda m: m.get("name") != "adam"),
    ({"n": {"$gt": 1}}, lambda m: number(m.get("n")) and m["n"] > 1),
    ({"n": {"$gte": 1, "$lt": 2.5}}, lambda m: number(m.get("n")) and 1 <= m["n"] < 2.5),
    ({"n": {"$lte": 1}}, lambda m: number(m.get("n")) and m["n"] <= 1),
    ({"n": {"$between": (1, 2.5)}}, lambda m: number(m.get("n")) and 1 <= m["n"] <= 2.5),
    ({"name": {"$gt": "B"}}, lambda m: m.get("name", "") > "B"),
    ({"name": {"$in": ["adam", "Bob"]}}, lambda m: m.get("name") in ("adam", "Bob")),
    ({"name": {"$nin": ["adam", "Bob"]}}, lambda m: m.get("name") not in ("adam", "Bob")),
    ({"n": {"$exists": True}}, lambda m: "n" in m),
    ({"n": {"$exists": False}}, lambda m: "n" not in m),
    ({"tags": {"$empty": True}}, lambda m: not m.get("tags")),
    ({"tags": {"$contains": "b"}}, lambda m: "b" in m.get("tags", [])),
    ({"tags": {"$not_contains": "b"}}, lambda m: "b" not in m.get("tags", [])),
    ({"tags": {"$any": ["a", "z"]}}, lambda m: type(m.get("tags")) is list and "a" in m["tags"]),
    ({"tags": {"$all": ["a", "b"]}}, lambda m: m.get("tags") == ["a", "b"]),
    ({"tags": ["b"]}, lambda m: m.get("tags") == ["b"]),
    ({"name": {"$like": "a%"}}, lambda m: m.get("name", "").startswith("a")),
    ({"name": {"$ilike": "a%"}}, lambda m: m.get("name", "").lower().startswith("a")),
    ({"name": {"$like": r"%\%"}}, lambda m: m.get("name", "").endswith("%")),
    ({"name": {"$text": "AM"}}, lambda m: "am" in m.get("name", "").lower()),
    ({"size.h": 3}, lambda m: m.get("size.h", m.get("size", {}).get("h")) == 3),
    ({"day": DAY}, lambda m: m.get("day") == DAY),
    ({"day": {"$gte": DAY}}, lambda m: type(m.get("day")) is date and m["day"] >= DAY),
    ({"n": {"$not": {"$gt": 1}}}, lambda m: not (number(m.get("n")) and m["n"] > 1)),
    ({"$not": {"on": True}}, lambda m: m.get("on") is not True),
    ({"$and": [{"on": True}, {"n": 1}]}, lambda m: m.get("on") is True and m.get("n") == 1),
    ({"$or": [{"on": True}, {"name": "Bob"}]}, lambda m: m.get("name") in ("adam", "Bob")),
    ({"$nor": [{"on": True}, {"name": "Bob"}]}, lambda m: m.get("name") not in ("adam", "Bob")),
    ({"on": False, "name": "Bob"}, lambda m: m.get("name") == "Bob"),
    ({}, lambda m: True),
]


@pytest.fixture(scope="module")
def rows() -> Iterator[M2MVectorStore]:
    with M2MVectorStore() as store:
        ids = [str(position) for position in range(len(ROWS))]
        store.add_embeddings([("", [1.0])] * len(ROWS), ROWS, ids=ids)
        yield store


@pytest.mark.parametrize(("where", "test"), SAME)
def test_a_dictionary_and_a_function_agree(
    rows: M2MVectorStore, where: Metadata, test: Callable[[Metadata], bool]
) -> None:
    fitting = [str(position) for position, row in enumerate(ROWS) if test(row)]
    assert rows.list_ids(where) == fitting
    assert rows.list_ids(lambda document: test(document.metadata)) == fitting
    assert sorted(d.id or "" for d in rows.similarity_search_by_vector([1.0], 9, where)) == fitting
    assert rows.count(where) == len(fitting)


@pytest.mark.parametrize(
    "where",
    [{"n": {"$gtt": 1}}, {"n": {"gt": 1, "$lt": 2}}, {"$nand": []}, {"name": {"$like": 5}}],
)
def test_what_is_misspelt_raises(rows: M2MVectorStore, where: Metadata) -> None:
    with pytest.raises(InvalidFilterError):
        rows.count(where)
