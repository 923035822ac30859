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
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters.like import check_pattern

CompareOp: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt", "lte"]
ORDERED: frozenset[str] = frozenset({"gt", "gte", "lt", "lte"})
ORDERED_TYPES = (int, float, str, datetime, date)


@dataclass(frozen=True, slots=True)
class Compare:
    """``path op value``."""

    path: str
    op: CompareOp
    value: Any

    def __post_init__(self) -> None:
        """Refuse a value that has no order where one is needed."""
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


@dataclass(frozen=True, slots=True)
class Exists:
    """The path leads to a value, null included (or does not, when `present` is False)."""

    path: str
    present: bool = True


@dataclass(frozen=True, slots=True)
class Holds:
    """The value at `path` is a list that has one of `values` among its items (`every`: all)."""

    path: str
    values: tuple[Any, ...]
    every: bool = False


@dataclass(frozen=True, slots=True)
class Like:
    """The value at `path` is a string that fits the pattern (see `m2m_rag.filters.like`)."""

    path: str
    pattern: str
    ignore_case: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no pattern."""
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


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds; without parts, nothing matches."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Filter


Leaf: TypeAlias = Compare | In | Exists | Holds | Like
Filter: TypeAlias = Leaf | And | Or | Not
