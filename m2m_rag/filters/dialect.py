"""The dictionary dialect: what Chroma, FAISS and PGVector users write, read strictly.

``{"source": "a.md", "year": {"$gte": 2020, "$lt": 2025}, "$or": [{...}, {...}]}``: keys of one
dictionary, and operators of one key, are joined by AND. An unknown operator raises.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidFilterError, did_you_mean
from m2m_rag.filters.ast import And, Compare, CompareOp, Exists, Filter, In, Not, Or

COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")
FIELD_OPERATORS = (*COMPARISONS, "$in", "$nin", "$exists")
LOGICAL_OPERATORS = ("$and", "$or", "$not")


def parse_where(where: Mapping[str, Any] | Filter | None) -> Filter | None:
    """Read a filter in the dictionary dialect.

    Parameters
    ----------
    where
        A dictionary, a filter tree (checked and returned), or None for no filter.

    Raises
    ------
    InvalidFilterError
        Naming the unknown operator, or the value that cannot be compared.

    Examples
    --------
    >>> parse_where({"year": {"$gte": 2020}})
    Compare(path='year', op='gte', value=2020)
    """
    if where is None:
        return None
    if isinstance(where, Mapping):
        return _mapping(where, 1)
    _check_tree(where, 1)
    return where


def _mapping(where: Mapping[str, Any], depth: int) -> Filter:
    _check_depth(depth)
    parts: list[Filter] = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise InvalidFilterError(f"filter keys are strings, got {key!r} of {_kind(key)}.")
        if key.startswith("$"):
            parts.append(_logical(key, value, depth))
        elif isinstance(value, Mapping) and any(str(name).startswith("$") for name in value):
            parts.extend(_field(key, name, operand) for name, operand in value.items())
        else:
            parts.append(_field(key, "$eq", value))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _logical(name: str, value: Any, depth: int) -> Filter:
    if name == "$not":
        return Not(_branch(name, value, depth))
    if name in ("$and", "$or"):
        if not isinstance(value, (list, tuple)):
            raise InvalidFilterError(f"{name} takes a list of filters, got {_kind(value)}.")
        branches = tuple(_branch(name, branch, depth) for branch in value)
        return And(branches) if name == "$and" else Or(branches)
    if name in FIELD_OPERATORS:
        raise InvalidFilterError(
            f"{name} stands under a key, as in {{'year': {{{name!r}: ...}}}}, not at the top."
        )
    raise _unknown(name, LOGICAL_OPERATORS)


def _branch(name: str, value: Any, depth: int) -> Filter:
    if isinstance(value, Mapping):
        return _mapping(value, depth + 1)
    if isinstance(value, Filter):
        _check_tree(value, depth + 1)
        return value
    raise InvalidFilterError(f"{name} takes filters (dictionaries), got {_kind(value)}.")


def _field(path: str, name: Any, operand: Any) -> Filter:
    part: Filter
    if name in COMPARISONS:
        part = Compare(path, cast(CompareOp, name[1:]), operand)
    elif name in ("$in", "$nin"):
        if not isinstance(operand, (list, tuple, set, frozenset)):
            raise InvalidFilterError(
                f"filter on {path!r}: {name} takes a list of values, got {_kind(operand)}."
            )
        part = In(path, tuple(operand), negated=name == "$nin")
    elif name == "$exists":
        if not isinstance(operand, bool):
            raise InvalidFilterError(
                f"filter on {path!r}: $exists takes True or False, got {operand!r}."
            )
        part = Exists(path, operand)
    else:
        raise _unknown(str(name), (*FIELD_OPERATORS, *LOGICAL_OPERATORS))
    _check_tree(part, 1)
    return part


def _check_tree(node: Any, depth: int) -> None:
    _check_depth(depth)
    if isinstance(node, (And, Or)):
        for part in node.parts:
            _check_tree(part, depth + 1)
    elif isinstance(node, Not):
        _check_tree(node.part, depth + 1)
    elif isinstance(node, (Compare, In, Exists)):
        _check_text(node.path, f"path {node.path!r}")
        if "\0" in node.path:
            raise InvalidFilterError(f"filter path {node.path!r}: keys hold no NUL.")
        if isinstance(node, Compare):
            _check_value(node.path, node.value, 1)
        elif isinstance(node, In):
            for value in node.values:
                _check_value(node.path, value, 1)
    else:
        raise InvalidFilterError(
            f"a filter is a dictionary or a tree of m2m_rag.filters, got {_kind(node)}."
        )


def _check_value(path: str, value: Any, depth: int) -> None:
    """Refuse what metadata cannot hold: it could never match, which is more likely a mistake."""
    if depth > LIMITS.metadata_depth:
        raise InvalidFilterError(f"filter on {path!r}: the value nests too deeply.")
    kind = type(value)
    if kind is str:
        _check_text(value, f"value of {path!r}")
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
            _check_text(key, f"value of {path!r}")
            _check_value(path, item, depth + 1)
    elif value is not None and kind is not bool:
        raise InvalidFilterError(
            f"filter on {path!r}: metadata holds JSON values, got {_kind(value)}. "
            "Convert it to what was stored (str, int, float, bool, None, list or dict)."
        )


def _check_text(text: Any, what: str) -> None:
    if not isinstance(text, str):
        raise InvalidFilterError(f"filter {what}: expected a string, got {_kind(text)}.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidFilterError(
            f"filter {what}: not valid Unicode text (position {error.start})."
        ) from None


def _check_depth(depth: int) -> None:
    if depth > LIMITS.filter_depth:
        raise InvalidFilterError(
            f"the filter nests deeper than {LIMITS.filter_depth} levels. Flatten it."
        )


def _unknown(name: str, known: tuple[str, ...]) -> InvalidFilterError:
    return InvalidFilterError(
        f"unknown filter operator {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
    )


def _kind(value: Any) -> str:
    return type(value).__name__
