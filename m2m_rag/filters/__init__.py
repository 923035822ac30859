"""Filters on metadata: one tree of conditions, one dialect, two evaluators that agree."""

from __future__ import annotations

from m2m_rag.filters.ast import And, Compare, Exists, Filter, Holds, In, Like, Not, Or
from m2m_rag.filters.derived import between, contains, empty, substring
from m2m_rag.filters.dialect import parse_where
from m2m_rag.filters.evaluate import matches
from m2m_rag.filters.fields import check_path

__all__ = [
    "And",
    "Compare",
    "Exists",
    "Filter",
    "Holds",
    "In",
    "Like",
    "Not",
    "Or",
    "between",
    "check_path",
    "contains",
    "empty",
    "matches",
    "parse_where",
    "substring",
]
