"""What ``filter=`` accepts: the dictionary dialect, a filter tree, or a function of a document."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from langchain_core.documents import Document

from m2m_rag.errors import InvalidInputError
from m2m_rag.filters import And, Filter, Holds, In, Not, Or, parse_where

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
        return Selection(None, _checked(filter))
    return Selection(parse_where(filter), None)


def read_deleting_filter(filter: FilterLike) -> Selection:
    """Read a filter of a deletion; one without any condition would wipe the collection."""
    selection = read_filter(filter)
    if selection.where is not None and _is_constant(selection.where, True):
        raise InvalidInputError(
            "the filter has no condition, so it matches every document. Nothing was deleted; "
            "pass delete_all=True to delete everything."
        )
    return selection


def _checked(test: DocumentTest) -> DocumentTest:
    """Wrap a user's function: a coroutine is true whatever it would have answered."""

    def keep(document: Document) -> bool:
        try:
            passed: object = test(document)
        except StopIteration as error:  # asyncio cannot hand it on: the await would never end
            raise RuntimeError("the filter function raised StopIteration") from error
        if inspect.isawaitable(passed):
            if inspect.iscoroutine(passed):
                passed.close()
            raise InvalidInputError(
                f"the filter {test!r} returned an awaitable; expected True or False. Pass a "
                "synchronous function, also to the async methods."
            )
        return bool(passed)

    return keep


def _is_constant(node: Filter, value: bool) -> bool:
    """Tell whether the filter's form alone makes it `value` for every document."""
    if isinstance(node, And | Or):
        decides = any if isinstance(node, Or) is value else all
        return decides(_is_constant(part, value) for part in node.parts)
    if isinstance(node, Not):
        return _is_constant(node.part, not value)
    if isinstance(node, Holds):
        return not (value or node.every or node.values)
    return isinstance(node, In) and not node.values and node.negated is value
