"""The filter tree: frozen dataclasses that every front end builds and every evaluator reads.

Meaning (the evaluators are held equal to it by tests):

* A *path* names a metadata value: the top-level key spelt exactly so when the record has it,
  otherwise the dots descend into nested dictionaries. A path that leads nowhere is *absent*.
* ``eq`` holds between equal values of one type. int and float compare as numbers; a bool is
  neither; lists and dictionaries compare whole. ``eq None`` also holds for an absent value.
* ``gt``, ``gte``, ``lt``, ``lte`` order numbers, strings by code point, dates, and datetimes.
  Between unlike types they are false, never an error.
* Aware datetimes compare by instant, naive ones by what they show. Aware, naive and date are three
  types.
* ``ne`` is NOT ``eq`` and a negated `In` is NOT `In`, so both hold for records that lack the key.
* `Exists` asks for the key's presence, also with a null value.
* `Holds` and `Like` are false for everything but lists and strings.

What can be said by several of these has no node of its own: see `m2m_rag.filters.derived`.

A node whose fields are not of the types below is refused where it is made, with
`InvalidFilterError`; lists are made tuples. What values it may compare with is checked with the
whole tree, by `m2m_rag.filters.parse_where`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias, get_args

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters.fields import as_tuple, check_flag, check_op, check_path
from m2m_rag.filters.like import check_pattern

CompareOp: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt", "lte"]
OPS: tuple[str, ...] = get_args(CompareOp)
ORDERED: frozenset[str] = frozenset({"gt", "gte", "lt", "lte"})
ORDERED_TYPES = (int, float, str, datetime, date)


@dataclass(frozen=True, slots=True)
class Compare:
    """``path op value``."""

    path: str
    op: CompareOp
    value: Any

    def __post_init__(self) -> None:
        """Refuse an unknown operator, and a value that has no order where one is needed."""
        check_path(self.path)
        check_op(self.path, self.op, OPS)
        if self.op in ORDERED and type(self.value) not in ORDERED_TYPES:
            raise InvalidFilterError(
                f"filter on {self.path!r}: {self.op!r} orders numbers, strings, dates or "
                f"datetimes, got {type(self.value).__name__}. Use eq, ne, in or exists for other "
                "values."
            )


@dataclass(frozen=True, slots=True)
class In:
    """The value at `path` equals one of `values` (or none of them, when `negated`)."""

    path: str
    values: tuple[Any, ...]
    negated: bool = False

    def __post_init__(self) -> None:
        """Refuse fields of other types."""
        check_path(self.path)
        check_flag(self.path, "negated", self.negated)
        _keep(self, "values", as_tuple(f"values of the filter on {self.path!r:.80}", self.values))


@dataclass(frozen=True, slots=True)
class Exists:
    """The path leads to a value, null included (or does not, when `present` is False)."""

    path: str
    present: bool = True

    def __post_init__(self) -> None:
        """Refuse fields of other types."""
        check_path(self.path)
        check_flag(self.path, "present", self.present)


@dataclass(frozen=True, slots=True)
class Holds:
    """The value at `path` is a list that has one of `values` among its items (`every`: all)."""

    path: str
    values: tuple[Any, ...]
    every: bool = False

    def __post_init__(self) -> None:
        """Refuse fields of other types."""
        check_path(self.path)
        check_flag(self.path, "every", self.every)
        _keep(self, "values", as_tuple(f"values of the filter on {self.path!r:.80}", self.values))


@dataclass(frozen=True, slots=True)
class Like:
    """The value at `path` is a string that fits the pattern (see `m2m_rag.filters.like`)."""

    path: str
    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no pattern."""
        check_path(self.path)
        check_flag(self.path, "ignore_case", self.ignore_case)
        if not isinstance(self.pattern, str):
            raise InvalidFilterError(
                f"filter on {self.path!r}: expected a string to look for, got "
                f"{type(self.pattern).__name__}."
            )
        check_pattern(self.pattern)


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold; without parts, everything matches."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        """Refuse parts that are no filters."""
        _keep(self, "parts", _parts("And", self.parts))


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; without parts, nothing matches."""

    parts: tuple[Filter, ...]

    def __post_init__(self) -> None:
        """Refuse parts that are no filters."""
        _keep(self, "parts", _parts("Or", self.parts))


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter

    def __post_init__(self) -> None:
        """Refuse a part that is no filter."""
        _check_part("Not", self.part)


Leaf: TypeAlias = Compare | In | Exists | Holds | Like
Filter: TypeAlias = Leaf | And | Or | Not


def _parts(name: str, parts: Any) -> tuple[Filter, ...]:
    checked = as_tuple(f"parts of {name}", parts)
    for part in checked:
        _check_part(name, part)
    return checked


def _check_part(name: str, part: Any) -> None:
    if not isinstance(part, Filter):
        raise InvalidFilterError(
            f"{name}: expected a node of m2m_rag.filters, got {type(part).__name__}. A dictionary "
            "becomes one by parse_where(...)."
        )


def _keep(node: Filter, field: str, items: tuple[Any, ...]) -> None:
    """Set a field of a node that is being made; afterwards it is frozen."""
    object.__setattr__(node, field, items)
