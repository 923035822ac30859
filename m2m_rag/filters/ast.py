"""The filter tree: frozen dataclasses that every front end builds and every evaluator reads.

Meaning (the evaluators are held equal to it by tests):

* A *path* names a metadata value: the top-level key spelt exactly so when the record has it,
  otherwise the dots descend into nested dictionaries. A path that leads nowhere is *absent*.
* ``eq`` holds between equal JSON values of one type. int and float compare as numbers; a bool is
  neither; lists and dictionaries compare whole. ``eq None`` also holds for an absent value.
* ``gt``, ``gte``, ``lt``, ``lte`` order numbers, and strings by code point. Between unlike types
  they are false, never an error.
* ``ne`` is NOT ``eq`` and a negated `In` is NOT `In`, so both hold for records that lack the key.
* `Exists` asks for the key's presence, also with a null value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from m2m_rag.errors import InvalidFilterError

CompareOp: TypeAlias = Literal["eq", "ne", "gt", "gte", "lt", "lte"]
ORDERED: frozenset[str] = frozenset({"gt", "gte", "lt", "lte"})


@dataclass(frozen=True, slots=True)
class Compare:
    """``path op value``."""

    path: str
    op: CompareOp
    value: Any

    def __post_init__(self) -> None:
        """Refuse a value that has no order where one is needed."""
        if self.op in ORDERED and type(self.value) not in (int, float, str):
            raise InvalidFilterError(
                f"filter on {self.path!r}: {self.op!r} orders numbers or strings, "
                f"got {type(self.value).__name__}. Use eq, ne, in or exists for other values."
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


Filter: TypeAlias = Compare | In | Exists | And | Or | Not
