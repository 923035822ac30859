"""What a whole filter may hold: so many levels, and values that metadata can hold too.

The form of each node was checked when it was made.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

from m2m_rag._dates import TAGS
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters.ast import And, Compare, Exists, Holds, In, Leaf, Like, Not, Or
from m2m_rag.filters.fields import check_text


def check_tree(node: Any, depth: int = 1) -> None:
    """Raise `InvalidFilterError` unless `node` is a whole tree that records could match."""
    check_depth(depth)
    if isinstance(node, (And, Or)):
        for part in node.parts:
            check_tree(part, depth + 1)
    elif isinstance(node, Not):
        check_tree(node.part, depth + 1)
    elif isinstance(node, Leaf):
        for value in _operands(node):
            _check_value(node.path, value, 1)
    else:
        raise InvalidFilterError(
            f"a filter is a dictionary or a tree of m2m_rag.filters, got {type(node).__name__}."
        )


def _operands(node: Leaf) -> tuple[Any, ...]:
    match node:
        case Compare(value=value):
            return (value,)
        case In(values=values) | Holds(values=values):
            return values
        case Like(pattern=pattern):
            return (pattern,)
        case Exists():
            return ()


def _check_value(path: str, value: Any, depth: int) -> None:
    """Refuse what metadata cannot hold: it could never match, which is more likely a mistake."""
    if depth > LIMITS.metadata_depth:
        raise InvalidFilterError(f"filter on {path!r}: the value nests too deeply.")
    kind = type(value)
    if kind is str:
        check_text(value, f"filter value of {path!r}")
    elif kind is int:
        if not -(2**63) <= value < 2**63:
            raise InvalidFilterError(f"filter on {path!r}: this number is beyond 64-bit integers.")
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidFilterError(f"filter on {path!r}: {value} is not a finite number.")
    elif kind is list:
        for item in value:
            _check_value(path, item, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidFilterError(f"filter on {path!r}: key {key!r} is not a string.")
            if key in TAGS:
                raise InvalidFilterError(
                    f"filter on {path!r}: key {key!r} is reserved. Pass the date itself."
                )
            check_text(key, f"filter value of {path!r}")
            _check_value(path, item, depth + 1)
    elif kind is datetime:
        try:
            value.utcoffset()
        except Exception as error:  # a time zone is anybody's code
            raise InvalidFilterError(
                f"filter on {path!r}: the datetime's time zone fails ({error!r:.80}). "
                "Use one of datetime.timezone or zoneinfo."
            ) from error
    elif value is not None and kind not in (bool, date):
        raise InvalidFilterError(
            f"filter on {path!r}: metadata holds JSON values, dates and datetimes, got "
            f"{type(value).__name__}. Convert it to what was stored (str, int, float, bool, None, "
            "list, dict, date or datetime)."
        )


def check_depth(depth: int) -> None:
    """Raise `InvalidFilterError` below the deepest level."""
    if depth > LIMITS.filter_depth:
        raise InvalidFilterError(
            f"the filter nests deeper than {LIMITS.filter_depth} levels. Flatten it."
        )
