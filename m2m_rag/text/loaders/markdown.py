"""Markdown: titled by its front matter or first heading, split along its structure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from m2m_rag.text.blocks import Block, read_blocks
from m2m_rag.text.loaders.base import Section

_FRONT_MATTER = re.compile(r"(---|\+\+\+)[ \t]*\r?\n(.*?\n)\1[ \t]*(?:\r?\n|$)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title[ \t]*[:=](.+)$", re.MULTILINE)
_ATX_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.+?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT_UNDERLINE = re.compile(r" {0,3}(?:=+|--+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
# The patterns above need quadratic time, and a longer line is no title.
_MAX_HEADING_CHARS = 1000
_LINK = re.compile(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])")


def load(path: Path) -> Iterator[Section]:
    """Yield the file's text after its front matter (``---`` or ``+++`` lines, when it has one)."""
    title = path.name
    for block in read_blocks(path):
        if block.offset == 0:
            front = _FRONT_MATTER.match(block.text)
            title = _title(block.text, front) or title
            block = _after(block, front.end()) if front else block
        yield Section(
            block.text,
            title,
            line=block.line,
            offset=block.offset,
            verbatim=True,
            kind="markdown",
        )


def _after(block: Block, end: int) -> Block:
    return Block(block.text[end:], block.offset + end, block.line + block.text.count("\n", 0, end))


def _title(text: str, front: re.Match[str] | None) -> str | None:
    if front and (found := _FRONT_TITLE.search(front[2])):
        return found[1].strip().strip("\"'") or None
    return first_heading(text[front.end() :] if front else text)


def first_heading(text: str) -> str | None:
    """Return the first heading outside code blocks, without its markup, or None."""
    fence, before = "", ""
    for line in text.splitlines():
        if found := _FENCE.match(line):
            fence = "" if fence == found[1] else fence or found[1]
            before = ""
        elif len(line) > _MAX_HEADING_CHARS:
            before = ""
        elif not fence:
            if found := _ATX_HEADING.match(line):
                return _plain(found[1])
            if before and _SETEXT_UNDERLINE.match(line):
                return _plain(before)
            before = line.strip() if not line.startswith(("    ", "\t", ">", "-", "|")) else ""
    return None


def _plain(heading: str) -> str:
    return _LINK.sub(r"\1", heading).replace("`", "").replace("**", "").strip() or heading
