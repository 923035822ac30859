"""Conditions that are said by others: what they mean is what they are made of."""

from __future__ import annotations

from typing import Any

from m2m_rag.filters.ast import And, Compare, Filter, Holds, Like, Or
from m2m_rag.filters.fields import check_path, check_text
from m2m_rag.filters.like import literal


def between(path: str, low: Any, high: Any) -> Filter:
    """Ask that the value at `path` lies between both, ends included."""
    return And((Compare(path, "gte", low), Compare(path, "lte", high)))


def substring(path: str, text: str, ignore_case: bool = False) -> Filter:
    """Ask that the value at `path` is a string in which `text` stands."""
    check_path(path)
    check_text(text, f"filter on {path!r:.80}")
    return Like(path, f"%{literal(text)}%", ignore_case)


def contains(path: str, value: Any) -> Filter:
    """Ask that the value at `path` is a list with `value`, or a string in which it stands."""
    listed = Holds(path, (value,))
    return Or((listed, substring(path, value))) if isinstance(value, str) else listed


def empty(path: str) -> Filter:
    """Ask that the value at `path` is absent, null, ``""``, ``[]`` or ``{}``."""
    nothing: tuple[Any, ...] = (None, "", [], {})
    return Or(tuple(Compare(path, "eq", value) for value in nothing))
