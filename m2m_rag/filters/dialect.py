r"""The dictionary dialect: what Chroma, FAISS and PGVector users write, read strictly.

``{"source": "a.md", "year": {"$gte": 2020, "$lt": 2025}, "$or": [{...}, {...}]}``: keys of one
dictionary, and operators of one key, are joined by AND. A dot in a key descends into a nested
dictionary, unless the record has the key spelt so. An unknown operator raises.

================================  ================================================================
written under a key               holds when the record's value
================================  ================================================================
a value, or ``$eq: v``            equals v; a list or dictionary whole; None: is null or absent
``$ne: v``, ``$neq: v``           does not (also when it is absent)
``$gt``, ``$gte``, ``$lt``,       is of v's type and greater, not less, less, not greater: numbers,
``$lte: v``                       strings by code point, dates, datetimes
``$between: [v, w]``              is ``$gte: v`` and ``$lte: w``
``$in: [v, ...]``                 equals one of them
``$nin: [v, ...]``                equals none of them (also when it is absent)
``$exists: True``                 is there, also as null (False: is absent)
``$empty: True``                  is absent, null, ``""``, ``[]`` or ``{}`` (False: is not)
``$contains: v``                  is a list that holds v, or a string in which the string v stands
``$not_contains: v``              does not contain v (also when it is absent)
``$any: [v, ...]``                is a list that holds one of them
``$all: [v, ...]``                is a list that holds all of them
``$like: p``                      is a string that fits p whole: ``%`` is any text, ``_`` one
                                  character, a backslash takes the next character literally
``$ilike: p``                     the same after Unicode case folding
``$text: s``                      is a string in which s stands, after Unicode case folding
``$not: {operators}``             does not fulfil them all
================================  ================================================================

At the top, and nested: ``$and: [filters]``, ``$or: [filters]``, ``$nor: [filters]`` (none holds),
``$not: filter``. Types never coerce: ``"5"`` is not 5 and True is not 1, but 1 is 1.0. What has
another type than its operand is false, never an error. Dates and datetimes are compared with their
own type: aware datetimes by instant, naive ones as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from m2m_rag.errors import InvalidFilterError, did_you_mean
from m2m_rag.filters.ast import And, Compare, CompareOp, Exists, Filter, Holds, In, Like, Not, Or
from m2m_rag.filters.checking import check_depth, check_tree
from m2m_rag.filters.derived import between, contains, empty, substring

LOGICAL_OPERATORS = ("$and", "$or", "$nor", "$not")


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
    tree = _mapping(where, 1) if isinstance(where, Mapping) else where
    check_tree(tree)
    return tree


def _mapping(where: Mapping[str, Any], depth: int) -> Filter:
    check_depth(depth)
    parts: list[Filter] = []
    for key, value in where.items():
        if not isinstance(key, str):
            raise InvalidFilterError(f"filter keys are strings, got {key!r} of {_kind(key)}.")
        if key.startswith("$"):
            parts.append(_logical(key, value, depth))
        elif _has_operators(value):
            parts.extend(_field(key, name, operand, depth) for name, operand in value.items())
        else:
            parts.append(Compare(key, "eq", value))
    return _joined(parts)


def _joined(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _has_operators(value: Any) -> bool:
    return isinstance(value, Mapping) and any(str(name).startswith("$") for name in value)


def _logical(name: str, value: Any, depth: int) -> Filter:
    if name in FIELD_OPERATORS:
        raise InvalidFilterError(
            f"{name} stands under a key, as in {{'year': {{{name!r}: ...}}}}, not at the top."
        )
    if name not in LOGICAL_OPERATORS:
        raise _unknown(name, LOGICAL_OPERATORS)
    if name == "$not":
        return Not(_branch(name, value, depth))
    if not isinstance(value, (list, tuple)):
        raise InvalidFilterError(f"{name} takes a list of filters, got {_kind(value)}.")
    branches = tuple(_branch(name, branch, depth) for branch in value)
    if name == "$and":
        return And(branches)
    return Or(branches) if name == "$or" else Not(Or(branches))


def _branch(name: str, value: Any, depth: int) -> Filter:
    if isinstance(value, Mapping):
        return _mapping(value, depth + 1)
    if isinstance(value, Filter):
        return value
    raise InvalidFilterError(f"{name} takes filters (dictionaries), got {_kind(value)}.")


def _field(path: str, name: Any, operand: Any, depth: int) -> Filter:
    if name == "$not":
        check_depth(depth)
        if not _has_operators(operand):
            raise InvalidFilterError(
                f"filter on {path!r}: $not takes operators, as in {{'$not': {{'$gt': 5}}}}, got "
                f"{operand!r:.80}. For a value use $ne."
            )
        parts = [_field(path, name, value, depth + 1) for name, value in operand.items()]
        return Not(_joined(parts))
    if name in LOGICAL_OPERATORS:
        raise InvalidFilterError(
            f"filter on {path!r}: {name} joins whole filters, as in "
            f"{{{name!r}: [{{{path!r}: ...}}, ...]}}."
        )
    make = _MAKERS.get(name)
    if make is None:
        raise _unknown(str(name), (*FIELD_OPERATORS, *LOGICAL_OPERATORS))
    return make(path, name, operand)


def _compare(path: str, name: str, operand: Any) -> Filter:
    return Compare(path, cast(CompareOp, name[1:]), operand)


def _between(path: str, name: str, operand: Any) -> Filter:
    ends = _values(path, name, operand)
    if len(ends) != 2 or isinstance(operand, (set, frozenset)):
        raise InvalidFilterError(
            f"filter on {path!r}: $between takes [lowest, highest], got {operand!r:.80}."
        )
    return between(path, *ends)


def _values(path: str, name: str, operand: Any) -> tuple[Any, ...]:
    if not isinstance(operand, (list, tuple, set, frozenset)):
        raise InvalidFilterError(
            f"filter on {path!r}: {name} takes a list of values, got {_kind(operand)}."
        )
    return tuple(operand)


def _flag(path: str, name: str, operand: Any) -> bool:
    if not isinstance(operand, bool):
        raise InvalidFilterError(
            f"filter on {path!r}: {name} takes True or False, got {operand!r:.80}."
        )
    return operand


def _text(path: str, name: str, operand: Any) -> str:
    if not isinstance(operand, str):
        raise InvalidFilterError(
            f"filter on {path!r}: {name} takes a string, got {_kind(operand)}."
        )
    return operand


_MAKERS: dict[Any, Callable[[str, str, Any], Filter]] = {
    "$eq": _compare,
    "$ne": _compare,
    "$neq": lambda path, _, operand: Compare(path, "ne", operand),
    "$gt": _compare,
    "$gte": _compare,
    "$lt": _compare,
    "$lte": _compare,
    "$between": _between,
    "$in": lambda path, name, operand: In(path, _values(path, name, operand)),
    "$nin": lambda path, name, operand: In(path, _values(path, name, operand), negated=True),
    "$exists": lambda path, name, operand: Exists(path, _flag(path, name, operand)),
    "$empty": lambda path, name, operand: (
        empty(path) if _flag(path, name, operand) else Not(empty(path))
    ),
    "$contains": lambda path, _, operand: contains(path, operand),
    "$not_contains": lambda path, _, operand: Not(contains(path, operand)),
    "$any": lambda path, name, operand: Holds(path, _values(path, name, operand)),
    "$all": lambda path, name, operand: Holds(path, _values(path, name, operand), every=True),
    "$like": lambda path, name, operand: Like(path, _text(path, name, operand)),
    "$ilike": lambda path, name, operand: Like(path, _text(path, name, operand), ignore_case=True),
    "$text": lambda path, name, operand: substring(
        path, _text(path, name, operand), ignore_case=True
    ),
}
FIELD_OPERATORS = tuple(_MAKERS)
"""What may stand under a key, beside ``$not``."""


def _unknown(name: str, known: tuple[str, ...]) -> InvalidFilterError:
    return InvalidFilterError(
        f"unknown filter operator {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
    )


def _kind(value: Any) -> str:
    return type(value).__name__
