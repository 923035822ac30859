"""Read text files in blocks of bounded size, strictly as UTF-8.

A *block* is a run of the file's text that ends at a sensible place (a heading, an empty line, a
line's end). A file of any size is read in the memory of a block or two.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from m2m_rag.errors import InvalidInputError

BLOCK_CHARS = 1 << 18
MAX_LINE_BYTES = 1 << 26
_READ_BYTES = 1 << 16
# Where a text may be cut, best first, and how much of the mark stays with the first part.
_BREAKS = (("\n#", 1), ("\n\n", 2), ("\n\r\n", 3), ("\n", 1), (" ", 1))


class Block(NamedTuple):
    """A run of a file's text: `offset` in characters from the file's start, `line` from 1."""

    text: str
    offset: int
    line: int


def read_blocks(path: Path) -> Iterator[Block]:
    """Yield the text of a UTF-8 file in blocks of at most `BLOCK_CHARS` characters.

    A byte order mark is dropped; line ends stay as they are. Joined, the blocks' texts are the
    file's text.

    Raises
    ------
    InvalidInputError
        A byte is not UTF-8; names the file and the byte's offset.
    """
    pending, offset, line = "", 0, 1
    for chunk in _decoded(path):
        pending += chunk
        while len(pending) > BLOCK_CHARS:
            cut = cut_point(pending, BLOCK_CHARS)
            yield Block(pending[:cut], offset, line)
            offset, line = offset + cut, line + pending.count("\n", 0, cut)
            pending = pending[cut:]
    if pending:
        yield Block(pending, offset, line)


def read_lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    """Yield ``(number from 1, line with its end)`` of an open UTF-8 file named `path`.

    Raises
    ------
    InvalidInputError
        A byte is not UTF-8, or a line is longer than `MAX_LINE_BYTES`.
    """
    position = 0
    for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
        if len(raw) > MAX_LINE_BYTES:
            raise InvalidInputError(
                f"{path}: line {number} is longer than {MAX_LINE_BYTES} bytes. "
                "Split the document that stands on it."
            )
        skip = len(codecs.BOM_UTF8) if number == 1 and raw.startswith(codecs.BOM_UTF8) else 0
        try:
            yield number, raw[skip:].decode("utf-8")
        except UnicodeDecodeError as error:
            raise undecodable(path, position + skip + error.start, "UTF-8") from error
        position += len(raw)


def cut_point(text: str, limit: int) -> int:
    """Return where to cut `text` so that the first part has at most `limit` characters.

    The cut lies in the second half of the limit, before a heading if there is one, else after an
    empty line, a line's end or a space, else at the limit.
    """
    if len(text) <= limit:
        return len(text)
    for mark, kept in _BREAKS:
        at = text.rfind(mark, limit // 2, limit - kept)
        if at >= 0:
            return at + kept
    return limit


def undecodable(path: Path, offset: int, encoding: str) -> InvalidInputError:
    """Return the error for a byte that is not text in the expected encoding."""
    return InvalidInputError(
        f"{path}: the byte at offset {offset} is not {encoding}. Expected {encoding} text: "
        "convert the file, or leave it out with exclude=."
    )


def _decoded(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        while True:
            position = file.tell() - len(decoder.getstate()[0])
            raw = file.read(_READ_BYTES)
            try:
                yield decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                raise undecodable(path, position + error.start, "UTF-8") from error
            if not raw:
                return
