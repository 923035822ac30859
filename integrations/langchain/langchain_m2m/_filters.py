"""What ``filter=`` accepts: the dictionary dialect, a filter tree, or a function of a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from langchain_core.documents import Document

from m2m_rag.errors import InvalidInputError
from m2m_rag.filters import And, Filter, parse_where

DocumentTest: TypeAlias = Callable[[Document], bool]
FilterLike: TypeAlias = Mapping[str, Any] | Filter | DocumentTest | None


class Selection(NamedTuple):
    """A filter as the engine takes it (`where`), or as Python must apply it (`keep`)."""

    where: Filter | None
    keep: DocumentTest | None


def read_filter(filter: FilterLike) -> Selection:
    """Check a filter and tell which of the two kinds it is.

    Raises
    ------
    InvalidFilterError
        Naming what cannot be read.
    """
    if callable(filter):
        return Selection(None, filter)
    return Selection(parse_where(filter), None)


def read_deleting_filter(filter: FilterLike) -> Selection:
    """Read a filter of a deletion; one without any condition would wipe the collection."""
    selection = read_filter(filter)
    if selection.where == And(()):
        raise InvalidInputError(
            "the filter has no condition, so it matches every document. Nothing was deleted; "
            "pass delete_all=True to delete everything."
        )
    return selection
