"""The contract of loaders: a file in, its sections out.

A loader is a function ``load(path) -> Iterator[Section]`` in a module of its own. It

* yields lazily; line-oriented formats are read in bounded memory;
* gives every section a title: the document's own (first heading, ``<title>``, metadata), else the
  file's name;
* raises `m2m_rag.errors.M2MError` or `OSError`, naming the file, for what it cannot read, and
  never leaves a part out silently;
* imports optional packages only when called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from m2m_rag.text.splitting import TextKind


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a document that is split by itself: a page, a record, a file's text.

    Attributes
    ----------
    text
        What is split and embedded.
    title
        The document's title.
    page
        The page's number from 1, in paged formats.
    line
        The line's number from 1 at which the section starts in the file, where there are lines.
    offset
        Characters of the file's text before this section (only where `verbatim`).
    verbatim
        Whether `text` is the file's own text, character by character, so that passages can be
        given the line and the offset at which they stand in the file.
    kind
        How `m2m_rag.text.splitting.Splitter` cuts it: ``"prose"``, ``"markdown"`` or ``"code"``.
    metadata
        Further JSON metadata for each passage.
    """

    text: str
    title: str
    page: int | None = None
    line: int | None = None
    offset: int = 0
    verbatim: bool = False
    kind: TextKind = "prose"
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Loader(Protocol):
    """A function that reads one file format."""

    def __call__(self, path: Path, /) -> Iterator[Section]:
        """Yield the sections of the file at `path`."""
        ...


def with_title(title: str, text: str) -> str:
    """Return `text` under its title, as a page shows it, unless it starts with the title.

    Records of JSON lines and CSV keep the title in a field of its own. It is often the most
    telling line of the document, so it belongs to the text that is embedded.
    """
    if not title or text.lstrip().startswith(title):
        return text
    return f"{title}\n\n{text}"
