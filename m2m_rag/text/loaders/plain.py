"""Plain text: one document a file, titled by the file's name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m2m_rag.text.blocks import read_blocks
from m2m_rag.text.loaders.base import Section


def load(path: Path) -> Iterator[Section]:
    """Yield the file's text, in several sections where it is large."""
    for block in read_blocks(path):
        yield Section(block.text, path.name, line=block.line, offset=block.offset, verbatim=True)
