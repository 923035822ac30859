"""The plain evaluator: a filter on one record's metadata, in Python. It defines the meaning."""

from __future__ import annotations

from typing import Any

from m2m_rag.filters.ast import And, Compare, Exists, Filter, In, Not, Or

ABSENT = object()


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


def equal(found: Any, value: Any) -> bool:
    """Compare two JSON values without coercion; None also equals `ABSENT`."""
    if value is None:
        return found is None or found is ABSENT
    if isinstance(value, bool) or isinstance(found, bool):
        return found is value
    if isinstance(value, (int, float)):
        return isinstance(found, (int, float)) and found == value
    if isinstance(value, list):
        return (
            isinstance(found, list)
            and len(found) == len(value)
            and all(equal(left, right) for left, right in zip(found, value, strict=True))
        )
    if isinstance(value, dict):
        return (
            isinstance(found, dict)
            and found.keys() == value.keys()
            and all(equal(found[key], value[key]) for key in value)
        )
    return isinstance(found, str) and found == value


def _ordered(found: Any, op: str, value: Any) -> bool:
    if isinstance(found, bool) or isinstance(found, str) is not isinstance(value, str):
        return False
    if not isinstance(found, (int, float, str)):
        return False
    if op == "gt":
        return bool(found > value)
    if op == "gte":
        return bool(found >= value)
    if op == "lt":
        return bool(found < value)
    return bool(found <= value)
