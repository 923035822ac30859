"""SQL's LIKE on Unicode text, in time bounded by text times pattern.

``%`` stands for any text, also none, ``_`` for one character, and a backslash takes the character
after it literally. SQLite's own LIKE folds ASCII only, stops at a NUL and limits the pattern, so
both evaluators call this one. No pattern makes it backtrack: the pieces between the ``%`` have
fixed lengths, so that the leftmost place of each is the right one.
"""

from __future__ import annotations

import re
from functools import lru_cache

from m2m_rag.errors import InvalidFilterError


def like(text: str, pattern: str, ignore_case: bool = False) -> bool:
    r"""Tell whether the whole text fits the pattern.

    Parameters
    ----------
    text, pattern
        As above.
    ignore_case
        Compare after Unicode case folding (``str.casefold``) of both, so that ``"ß"`` is ``"ss"``
        and a ``_`` stands for one character of the folded text.

    Examples
    --------
    >>> like("100 %", r"1__ \%"), like("STRASSE", "straße", ignore_case=True)
    (True, True)
    """
    first, *rest = _pieces(pattern, ignore_case)
    if ignore_case:
        text = text.casefold()
    if not rest:
        return first.fullmatch(text) is not None
    *middle, last = rest
    found = first.match(text)
    for piece in middle:
        if found is None:
            return False
        found = piece.search(text, found.end())
    return found is not None and last.search(text, found.end()) is not None


def literal(text: str) -> str:
    r"""Return the pattern that only `text` fits.

    Examples
    --------
    >>> print(literal("50 %"))
    50 \%
    """
    return re.sub(r"([\\%_])", r"\\\1", text)


def check_pattern(pattern: str) -> None:
    """Raise `InvalidFilterError` for a pattern that ends in the middle of an escape."""
    _pieces(pattern, ignore_case=False)


@lru_cache(maxsize=256)
def _pieces(pattern: str, ignore_case: bool) -> tuple[re.Pattern[str], ...]:
    pieces = [""]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            pieces.append("")
        elif character == "_":
            pieces[-1] += "."
        else:
            if character == "\\":
                character = next(characters, "")
                if not character:
                    raise InvalidFilterError(
                        f"the pattern {pattern!r} ends with a lone backslash. Write two for a "
                        "backslash itself."
                    )
            pieces[-1] += re.escape(character.casefold() if ignore_case else character)
    pieces[-1] += r"\Z"
    return tuple(re.compile(piece, re.DOTALL) for piece in pieces)
