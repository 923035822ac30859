"""The plain evaluator: a filter on one record's metadata, in Python. It defines the meaning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from m2m_rag._dates import AWARE, DATE, NAIVE, stamp
from m2m_rag.filters.ast import And, Compare, Exists, Filter, Holds, In, Like, Not, Or
from m2m_rag.filters.like import like

ABSENT = object()
ORDERED_KINDS = frozenset({"text", "number", AWARE, NAIVE, DATE})
"""Kinds of values (`identity`) that have an order."""


def matches(node: Filter, metadata: dict[str, Any]) -> bool:
    """Tell whether `metadata` satisfies the filter `node`.

    Examples
    --------
    >>> matches(Compare("year", "gte", 2020), {"year": 2021})
    True
    """
    match node:
        case And(parts):
            return all(matches(part, metadata) for part in parts)
        case Or(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case Exists(path, present):
            return (lookup(metadata, path) is not ABSENT) is present
        case In(path, values, negated):
            found = lookup(metadata, path)
            return any(equal(found, value) for value in values) is not negated
        case Holds(path, values, every):
            found = lookup(metadata, path)
            return isinstance(found, list) and holds(found, identities(values), every)
        case Like(path, pattern, ignore_case):
            found = lookup(metadata, path)
            return isinstance(found, str) and like(found, pattern, ignore_case)
        case Compare(path, op, value):
            found = lookup(metadata, path)
            if op == "eq":
                return equal(found, value)
            if op == "ne":
                return not equal(found, value)
            return _ordered(found, op, value)


def lookup(metadata: dict[str, Any], path: str) -> Any:
    """Return the value at `path`, or `ABSENT`."""
    if path in metadata:
        return metadata[path]
    found: Any = metadata
    for key in path.split("."):
        if not isinstance(found, dict) or key not in found:
            return ABSENT
        found = found[key]
    return found


def identity(value: Any) -> tuple[str, Any]:
    """Return the kind of a value, and what tells it from others of its kind: both hashable.

    Examples
    --------
    >>> identity(1) == identity(1.0), identity(1) == identity(True)
    (True, False)
    """
    if value is None or value is ABSENT:
        return "null", None
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, (int, float)):
        return "number", value
    if isinstance(value, list):
        return "list", tuple(identity(item) for item in value)
    if isinstance(value, dict):
        return "dict", frozenset((key, identity(item)) for key, item in value.items())
    return stamp(value)


def equal(found: Any, value: Any) -> bool:
    """Compare two values without coercion; None also equals `ABSENT`."""
    return identity(found) == identity(value)


def identities(values: Iterable[Any]) -> frozenset[tuple[str, Any]]:
    """Return the identities of all values."""
    return frozenset(map(identity, values))


def holds(found: list[Any], wanted: frozenset[tuple[str, Any]], every: bool) -> bool:
    """Tell whether one of the list's items is among `wanted`, or `every` one of these is there."""
    items = identities(found)
    return wanted <= items if every else not wanted.isdisjoint(items)


def _ordered(found: Any, op: str, value: Any) -> bool:
    (kind, left), (other, right) = identity(found), identity(value)
    if kind != other or kind not in ORDERED_KINDS:
        return False
    if op == "gt":
        return bool(left > right)
    if op == "gte":
        return bool(left >= right)
    if op == "lt":
        return bool(left < right)
    return bool(left <= right)
