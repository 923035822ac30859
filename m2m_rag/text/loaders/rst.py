"""reStructuredText: titled by its first underlined heading."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from m2m_rag.text.blocks import read_blocks
from m2m_rag.text.loaders.base import Section

_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1*\s*$")


def load(path: Path) -> Iterator[Section]:
    """Yield the file's text, in several sections where it is large."""
    title = path.name
    for block in read_blocks(path):
        if block.offset == 0:
            title = first_heading(block.text) or title
        yield Section(block.text, title, line=block.line, offset=block.offset, verbatim=True)


def first_heading(text: str) -> str | None:
    """Return the first line that is underlined at its full length, or None."""
    lines = text.splitlines()
    for line, below in itertools.pairwise(lines):
        heading = line.strip()
        is_underline = _ADORNMENT.match(below) and len(below.rstrip()) >= len(line.rstrip())
        if heading and is_underline and not _ADORNMENT.match(line):
            return heading
    return None
