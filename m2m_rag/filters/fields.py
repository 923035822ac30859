"""What the fields of a filter's nodes may hold: checked where a node is made.

A node of another form would not fail later, it would answer: an unknown operator as some other one,
a generator of parts as none at all.
"""

from __future__ import annotations

from typing import Any

from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidFilterError, did_you_mean, shown

SYMBOLS = {"=": "eq", "==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
"""How operators are written elsewhere: to these no name is near."""


def check_path(path: Any, name: str = "filter path") -> str:
    """Return the path of a metadata value.

    Parameters
    ----------
    path
        A string without NUL, of at most `LIMITS.path_bytes`.
    name
        Names it in messages.

    Raises
    ------
    InvalidFilterError
        It is none.
    """
    check_text(path, name)
    if "\0" in path:
        raise InvalidFilterError(f"{name}: {path!r:.80} holds a NUL; keys hold no NUL.")
    n_bytes = len(path.encode())
    if n_bytes > LIMITS.path_bytes:
        raise InvalidFilterError(
            f"{name}: {path!r:.80} has {n_bytes} bytes; a path has at most {LIMITS.path_bytes}. "
            "Filter by a shorter key."
        )
    return str(path)


def check_text(text: Any, name: str) -> None:
    """Refuse what is no string, or one that UTF-8 cannot hold."""
    if not isinstance(text, str):
        raise InvalidFilterError(f"{name}: expected a string, got {type(text).__name__}.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidFilterError(
            f"{name}: not valid Unicode text (position {error.start})."
        ) from None


def check_op(path: str, op: Any, known: tuple[str, ...]) -> None:
    """Refuse an operator that is not among the known ones."""
    if not isinstance(op, str) or op not in known:
        raise InvalidFilterError(
            f"filter on {path!r:.80}: op is one of {', '.join(known)}, got {shown(op)}."
            f"{_meant(op, known)}"
        )


def check_flag(path: str, name: str, flag: Any) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(flag, bool):
        raise InvalidFilterError(
            f"filter on {path!r:.80}: {name} is True or False, got {shown(flag)}."
        )


def as_tuple(what: str, items: Any) -> tuple[Any, ...]:
    """Return the items of a tuple or list; a list may change later, and a generator is read once.

    Parameters
    ----------
    what
        Names them in messages.
    items
        As the user gave them.
    """
    if not isinstance(items, (tuple, list)):
        raise InvalidFilterError(
            f"{what}: expected a tuple or list, got {type(items).__name__}. Write (x,) for one "
            "item, and tuple(...) for what a generator yields."
        )
    return tuple(items)


def _meant(op: Any, known: tuple[str, ...]) -> str:
    if not isinstance(op, str):
        return ""
    name = SYMBOLS.get(op)
    return did_you_mean(op.lstrip("$"), known) if name is None else f" Did you mean {name!r}?"
