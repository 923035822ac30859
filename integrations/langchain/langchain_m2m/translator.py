"""LangChain's structured queries as filters, for ``SelfQueryRetriever``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypedDict, cast

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters import And, Compare, Filter, In, Like, Not, Or, contains
from m2m_rag.filters.ast import CompareOp

_NEGATED = {Comparator.NE: Comparator.EQ, Comparator.NIN: Comparator.IN}


class SearchArguments(TypedDict, total=False):
    """What a structured query adds to a search."""

    filter: Filter


class M2MTranslator(Visitor):
    """Translates structured queries: all operators and all comparators.

    - AND, OR, and NOT, which means "none of" where it has several arguments.
    - EQ, NE, GT, GTE, LT, LTE, IN and NIN are the dialect's ``$eq`` to ``$nin``: types never
      coerce, and NE and NIN also match documents that lack the attribute. IN and NIN take one
      value for a list of one.
    - CONTAIN is ``$contains`` (an item of a list, or a part of a string), LIKE is ``$like`` (a
      pattern with ``%`` and ``_`` for the whole string, case-sensitive).
    - A date or datetime that the query's parser recognised matches what is stored as a date or
      datetime, and what is stored as a string in the same ISO 8601 form.

    Examples
    --------
    ::

        SelfQueryRetriever.from_llm(
            llm, store, contents, attributes, structured_query_translator=M2MTranslator()
        )
    """

    allowed_operators = tuple(Operator)
    allowed_comparators = tuple(Comparator)

    def visit_operation(self, operation: Operation) -> Filter:
        """Translate AND, OR or NOT."""
        self._validate_func(operation.operator)
        parts = tuple(argument.accept(self) for argument in operation.arguments)
        if operation.operator == Operator.NOT:
            return Not(Or(parts))
        return And(parts) if operation.operator == Operator.AND else Or(parts)

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Translate a comparison of one attribute."""
        self._validate_func(comparison.comparator)
        positive = _NEGATED.get(comparison.comparator, comparison.comparator)
        found = _compared(comparison.attribute, positive, comparison.value)
        return found if positive == comparison.comparator else Not(found)

    def visit_structured_query(
        self, structured_query: StructuredQuery
    ) -> tuple[str, SearchArguments]:
        """Return the text to search for, and the search's arguments.

        ``SelfQueryRetriever`` itself hands the query's limit on, as ``k``.
        """
        if structured_query.filter is None:
            return structured_query.query, {}
        return structured_query.query, {"filter": structured_query.filter.accept(self)}


def _compared(attribute: str, comparator: Comparator, value: Any) -> Filter:
    if comparator == Comparator.IN:
        values = value if isinstance(value, (list, tuple)) else [value]
        return In(attribute, tuple(form for one in values for form in _forms(attribute, one)))
    if comparator == Comparator.LIKE:
        return Like(attribute, value)
    parts = tuple(
        contains(attribute, form)
        if comparator == Comparator.CONTAIN
        else Compare(attribute, cast(CompareOp, comparator.value), form)
        for form in _forms(attribute, value)
    )
    return parts[0] if len(parts) == 1 else Or(parts)


def _forms(attribute: str, value: Any) -> tuple[Any, ...]:
    """Return the stored values that a value of a query stands for: a date has two."""
    if not isinstance(value, Mapping):
        return (value,)
    kind = value.get("type")
    text = value.get(kind)
    if kind in ("date", "datetime") and isinstance(text, str):
        read = date.fromisoformat if kind == "date" else datetime.fromisoformat
        try:
            return read(text.upper()), text
        except ValueError:
            pass  # told below, as every other value that is none
    raise InvalidFilterError(
        f"the comparison of {attribute!r} got {value!r}; expected a string, a number, a bool, a "
        "list, or a date as LangChain's parser writes it: {'type': 'date', 'date': 'YYYY-MM-DD'}."
    )
