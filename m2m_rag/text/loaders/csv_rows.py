"""CSV and TSV: one document a row, under a header row.

With a column named ``text``, ``content`` or ``body`` (the first of these) that is the text,
``title`` the title that stands above it, and the other columns become metadata. Without one, the
text lists the row as ``column: value`` lines and every column becomes metadata as well. Values
stay strings; empty ones are left out of metadata. The delimiter is the one of ``, ; tab |`` that
the header has most of (for ``.tsv`` the tab).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.blocks import MAX_LINE_BYTES, read_lines
from m2m_rag.text.loaders.base import Section, with_title
from m2m_rag.text.loaders.jsonl import TEXT_FIELDS


def load(path: Path) -> Iterator[Section]:
    """Yield one section for each row below the header."""
    # Python's own limit is 131,072 characters a field, less than a long document has. It is one
    # number for the whole process and is never lowered here.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    with path.open("rb") as file:
        lines = (line for _, line in read_lines(file, path))
        first = next(lines, "")
        rows = csv.reader(_again(first, lines), delimiter=_delimiter(path, first), strict=True)
        try:
            header = next(rows, [])
            _check_header(path, header)
            start = rows.line_num + 1
            for row in rows:
                if row:
                    yield _section(path, start, header, row)
                start = rows.line_num + 1
        except csv.Error as error:
            raise InvalidInputError(f"{path}: line {rows.line_num} is not CSV: {error}.") from error


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(path: Path, header: str) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=header.count)


def _check_header(path: Path, header: list[str]) -> None:
    repeated = {name for name in header if header.count(name) > 1}
    if repeated:
        raise InvalidInputError(
            f"{path}: the header names {min(repeated)!r} twice. Expected each column once."
        )


def _section(path: Path, line: int, header: list[str], row: list[str]) -> Section:
    if len(row) != len(header):
        raise InvalidInputError(
            f"{path}: the row at line {line} has {len(row)} fields. "
            f"Expected {len(header)}, as the header has: look for a missing quotation mark."
        )
    fields = {name: value for name, value in zip(header, row, strict=True) if value}
    title = fields.get("title", "")
    name = next((name for name in TEXT_FIELDS if name in header), None)
    if name:
        text = with_title(title, fields.pop(name, ""))
        fields.pop("title", None)
    else:
        text = "\n".join(f"{name}: {value}" for name, value in fields.items())
    return Section(text, title or path.name, line=line, metadata=fields)
