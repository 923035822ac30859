"""JSON lines, also gzip-compressed: one document a line.

Each line is a JSON object. Its text is the first of the fields ``text``, ``content`` and ``body``
that it has, which must be a string. ``title``, when it is a string, is the title and stands above
the text. All other fields become metadata under their own names. Empty lines are passed over.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.blocks import read_lines
from m2m_rag.text.loaders.base import Section, with_title

TEXT_FIELDS = ("text", "content", "body")


def load(path: Path) -> Iterator[Section]:
    """Yield one section for each line that is not empty."""
    with _open(path) as file:
        try:
            for number, line in read_lines(file, path):
                if line.strip():
                    yield _section(path, number, line)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InvalidInputError(
                f"{path}: the gzip stream is damaged ({error}). Make or fetch the file again."
            ) from error


def _open(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _section(path: Path, number: int, line: str) -> Section:
    try:
        fields = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path}: line {number} is not JSON: {error}.") from error
    if not isinstance(fields, dict):
        raise InvalidInputError(
            f"{path}: line {number} holds a {type(fields).__name__}. Expected a JSON object."
        )
    text = _text(path, number, fields)
    title = fields.pop("title") if isinstance(fields.get("title"), str) else ""
    return Section(with_title(title, text), title or path.name, line=number, metadata=fields)


def _text(path: Path, number: int, fields: dict[str, Any]) -> str:
    name = next((name for name in TEXT_FIELDS if name in fields), None)
    text = fields.pop(name) if name else None
    if not isinstance(text, str):
        raise InvalidInputError(
            f"{path}: line {number} has no text (fields: {', '.join(map(repr, fields)) or 'none'})."
            f" Expected a string in one of the fields {', '.join(map(repr, TEXT_FIELDS))}."
        )
    return text


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
