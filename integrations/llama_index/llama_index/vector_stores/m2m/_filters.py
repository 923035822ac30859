"""LlamaIndex `MetadataFilters` as the filters of m2m_rag: exactly, or an `InvalidFilterError`.

The rules, where LlamaIndex leaves room or its own reference raises:

- A key that a node lacks counts as None. ``!=`` and ``nin`` are the negations of ``==`` and
  ``in``, so they match such nodes; ``== None`` matches them too.
- A number never equals a string, and a range between unlike types is False. ``True`` and
  ``False`` in metadata count as 1 and 0, as in Python: LlamaIndex filters can't hold a bool. Only
  ``==`` with a list tells them apart.
- ``contains`` asks a list for an item and a string for a part of it; ``any`` and ``all`` ask
  lists alone, and ``text_match`` strings alone. Of another type they are False.
- ``all`` with an empty list matches every node that has the key, ``any`` none.
- ``text_match`` is a search for a substring of the metadata, in which ``%`` and ``_`` are
  themselves; ``text_match_insensitive`` looks after Unicode case folding.
- Where ``in``, ``any`` and ``all`` get one value instead of a list, it is a list of one.
- ``condition=None`` means AND, NOT means "none of", an empty list of filters restricts nothing.
- ``doc_id``, ``document_id`` and ``ref_doc_id`` mean the node's document (its own id, when it
  has no source), unless the node's metadata has a key of that name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal

from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.vector_stores.m2m._keys import DOC_KEY, ID_KEY, escape

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import And, Compare, Exists, Filter, Holds, In, Not, Or, substring

_DOCUMENT_KEYS = frozenset({"doc_id", "document_id", "ref_doc_id"})
_COMPARISONS: dict[
    FilterOperator, tuple[Literal["eq", "gt", "gte", "lt", "lte"], Callable[[Any, Any], bool]]
] = {
    FilterOperator.EQ: ("eq", operator.eq),
    FilterOperator.GT: ("gt", operator.gt),
    FilterOperator.GTE: ("gte", operator.ge),
    FilterOperator.LT: ("lt", operator.lt),
    FilterOperator.LTE: ("lte", operator.le),
}
_MEMBERSHIP = frozenset({FilterOperator.CONTAINS, FilterOperator.ANY, FilterOperator.ALL})
_TEXT = {FilterOperator.TEXT_MATCH: False, FilterOperator.TEXT_MATCH_INSENSITIVE: True}
_NEGATED = {FilterOperator.NE: FilterOperator.EQ, FilterOperator.NIN: FilterOperator.IN}


class TextMatchError(InvalidFilterError, TypeError):
    """A text match was asked for with something else than text; LlamaIndex raises TypeError."""


def to_where(filters: MetadataFilters | None) -> Filter | None:
    """Translate LlamaIndex filters.

    Parameters
    ----------
    filters
        Any nesting of `MetadataFilters`, or None.

    Returns
    -------
    Filter or None
        None when nothing is restricted.

    Raises
    ------
    InvalidFilterError
        A value or object that can't be answered exactly; for a text match it is a TypeError too.
    """
    if filters is None:
        return None
    if not isinstance(filters, MetadataFilters):
        raise InvalidFilterError(
            f"filters are a {type(filters).__name__}; expected MetadataFilters, "
            "as in MetadataFilters(filters=[MetadataFilter(key='year', value=2020)])"
        )
    parts = [
        part
        for item in filters.filters
        if (part := to_where(item) if isinstance(item, MetadataFilters) else _single(item))
        is not None
    ]
    if not parts:
        return None
    if filters.condition == FilterCondition.NOT:
        return Not(Or(tuple(parts)))
    if filters.condition == FilterCondition.OR:
        return Or(tuple(parts))
    return And(tuple(parts))


def of_document(ref_doc_id: str) -> Filter:
    """Return the filter for the nodes of one document."""
    return Compare(DOC_KEY, "eq", ref_doc_id)


def of_documents(ref_doc_ids: Sequence[str]) -> Filter:
    """Return the filter for the nodes of any of the documents."""
    return In(DOC_KEY, tuple(ref_doc_ids))


def of_nodes(node_ids: Sequence[str]) -> Filter:
    """Return the filter for the nodes of these ids."""
    return In(ID_KEY, tuple(node_ids))


def all_of(*parts: Filter | None) -> Filter | None:
    """Return the intersection of the parts that are there, or None when none is."""
    present = tuple(part for part in parts if part is not None)
    return And(present) if present else None


def _single(item: MetadataFilter) -> Filter:
    negated = item.operator in _NEGATED
    positive = _NEGATED.get(item.operator, item.operator)
    path = escape(item.key)
    found = _predicate(path, positive, item)
    if item.key in _DOCUMENT_KEYS:
        found = Or(
            (
                And((Exists(path), found)),
                And((Exists(path, False), _predicate(DOC_KEY, positive, item))),
            )
        )
    return Not(found) if negated else found


def _predicate(path: str, positive: FilterOperator, item: MetadataFilter) -> Filter:
    value: Any = item.value
    if positive == FilterOperator.IS_EMPTY:
        return Or((Compare(path, "eq", None), Compare(path, "eq", ""), Compare(path, "eq", [])))
    if positive == FilterOperator.IN:
        return In(path, _alike(*_listed(value)))
    if positive in _MEMBERSHIP:
        return _membership(path, positive, value)
    if positive in _TEXT:
        if not isinstance(value, str):
            raise TextMatchError(_refused(item, "a string"))
        return substring(path, value, ignore_case=_TEXT[positive])
    if positive != FilterOperator.EQ and (value is None or isinstance(value, list)):
        raise InvalidFilterError(_refused(item, "a number or a string"))
    return _compare(path, positive, value)


def _membership(path: str, positive: FilterOperator, value: Any) -> Filter:
    if positive == FilterOperator.CONTAINS:
        listed = Holds(path, _alike(value))
        return Or((listed, substring(path, value))) if isinstance(value, str) else listed
    if positive == FilterOperator.ANY:
        return Holds(path, _alike(*_listed(value)))
    held = tuple(Holds(path, _alike(one)) for one in _listed(value))
    return And((Not(Compare(path, "eq", None)), *held))


def _compare(path: str, positive: FilterOperator, value: Any) -> Filter:
    name, holds = _COMPARISONS[positive]
    if not isinstance(value, int | float):
        return Compare(path, name, value)
    flags = (flag for flag in (False, True) if holds(flag, value))
    return Or((Compare(path, name, value), *(Compare(path, "eq", flag) for flag in flags)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _alike(*values: Any) -> tuple[Any, ...]:
    """Return the values, and the bools that equal one of them in Python."""
    return *values, *(flag for flag in (False, True) if flag in values)


def _refused(item: MetadataFilter, expected: str) -> str:
    return (
        f"the filter operator {item.operator.name} (key {item.key!r}) got {item.value!r}; "
        f"expected {expected}"
    )
