"""HTML: the page's text in blocks, without scripts, styles, navigation, footers and forms.

Block elements (paragraphs, headings, list items, table rows) start on a new line, ``pre`` keeps
its lines, cells of a row stand between ``|``. The encoding is UTF-8 or the one that a ``<meta
charset>`` in the first 1,024 bytes names.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.blocks import undecodable
from m2m_rag.text.loaders.base import Section

_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]+)", re.IGNORECASE)
# fmt: off
_DROPPED = {
    "script", "style", "noscript", "template", "svg", "nav", "footer", "form", "button", "select",
}
_PARAGRAPHS = {
    "p", "div", "section", "article", "main", "header", "aside", "blockquote", "figure", "hr",
    "ul", "ol", "dl", "table", "pre", "details", "h1", "h2", "h3", "h4", "h5", "h6",
}
_LINES = {"br", "li", "tr", "dt", "dd", "caption", "figcaption", "summary"}
# fmt: on


def load(path: Path) -> Iterator[Section]:
    """Yield the page's text as one section, titled by ``<title>``."""
    page = _Page()
    page.feed(_decode(path, path.read_bytes()))
    page.close()
    yield Section(page.text(), page.title() or path.name)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._title: list[str] = []
        self._in_title = False
        self._dropped: list[str] = []
        self._pre = 0

    def text(self) -> str:
        text = re.sub(r"(?<![ \t])[ \t]+\n", "\n", "".join(self._parts))
        return re.sub(r"\n{3,}", "\n\n", text).strip()

    def title(self) -> str:
        return " ".join("".join(self._title).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _DROPPED:
            self._dropped.append(tag)
        elif not self._dropped:
            # Only the first title counts: drawings inside the page have titles of their own.
            self._in_title = tag == "title" and not self._title
            self._pre += tag == "pre"
            self._break(tag)
            if tag == "li":
                self._parts.append("- ")
            elif tag in ("td", "th") and self._line():
                self._parts.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            if tag in self._dropped:
                while self._dropped.pop() != tag:
                    pass
        elif tag == "title":
            self._in_title = False
        else:
            self._pre = max(0, self._pre - (tag == "pre"))
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        if self._in_title:
            self._title.append(data)
        elif self._pre:
            self._parts.append(data)
        else:
            words = re.sub(r"\s+", " ", data)
            self._parts.append(words if self._line() else words.lstrip())

    def _break(self, tag: str) -> None:
        if self._parts and self._parts[-1] == "- ":
            return
        if tag in _PARAGRAPHS:
            self._parts.append("\n\n")
        elif tag in _LINES and (tag == "br" or self._line()):
            self._parts.append("\n")

    def _line(self) -> bool:
        """Whether the current line has begun."""
        last = next((part for part in reversed(self._parts) if part), "\n")
        return not last.endswith("\n")


def _decode(path: Path, raw: bytes) -> str:
    found = _CHARSET.search(raw[:1024])
    name = found[1].decode("ascii") if found else "utf-8"
    skip = len(codecs.BOM_UTF8) if raw.startswith(codecs.BOM_UTF8) else 0
    try:
        encoding = "utf-8" if skip else codecs.lookup(name).name
        return raw[skip:].decode(encoding)
    except LookupError as error:
        raise InvalidInputError(
            f"{path}: the page declares the encoding {name!r}, which is unknown. "
            "Expected a charset that Python knows: convert the file to UTF-8."
        ) from error
    except UnicodeError as error:
        raise undecodable(path, skip + getattr(error, "start", 0), name) from error
