"""Split a section's text into passages at semantic boundaries, with their character offsets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, get_args

from m2m_rag._optional import require
from m2m_rag.errors import InvalidInputError
from m2m_rag.storage.metadata import check_unicode
from m2m_rag.text.blocks import cut_point

# semantic-text-splitter needs time quadratic in the length of a sentence (0.06 s for 64,000
# characters without a break, 60 s for 5 million), so it is given windows of at most this length.
_WINDOW_CHARS = 1 << 16
_MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
_WORD = re.compile(r"\w")
# A line that is no heading, table row, quotation or fence, its end, and the next line's letter.
_WRAP = re.compile(
    r"^(?! {0,3}[#|>`~])(.*[^\s.!?:;{}|~](?<!```))(\r?\n)(?= {0,3}[`_*\[(\"]?([^\W\d_]))",
    re.MULTILINE,
)

TextKind: TypeAlias = Literal["prose", "markdown", "code"]


class Passage(NamedTuple):
    """A run of a text: ``text == whole[start:end]``, in characters (code points)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Splitter:
    """Splits texts into passages of at most `max_chars` characters.

    Cuts fall at the highest boundary that fits: headings and blocks of Markdown, runs of empty
    lines, lines, sentences, words. A piece shorter than an eighth of `max_chars` (a lone heading,
    mostly) is joined to the piece below it. Pieces of Markdown that show no word (anchors,
    comments) are left out.

    The default of 800 fits all-MiniLM-L6-v2, which reads the first 256 tokens of a text and
    ignores the rest: of the passages of 250 pages of technical English Markdown, 98 % fit whole
    (at 1,000 characters 92 %, at 1,200 75 %). The default overlap is 0: since cuts fall between
    paragraphs, an overlap mostly stores text twice, and it makes a passage change with its
    neighbour, so that re-ingesting an edited file embeds more.

    Parameters
    ----------
    max_chars
        Longest passage in characters, at least 16.
    overlap
        Most characters that a passage may share with the one before it, less than half of
        `max_chars`.

    Raises
    ------
    InvalidInputError
        A parameter is out of range.
    """

    max_chars: int = 800
    overlap: int = 0

    def __post_init__(self) -> None:
        if self.max_chars < 16:
            raise InvalidInputError(f"max_chars is {self.max_chars}. Expected at least 16.")
        if not 0 <= self.overlap < self.max_chars // 2:
            raise InvalidInputError(
                f"overlap is {self.overlap}. Expected 0 to {self.max_chars // 2 - 1}, "
                f"less than half of max_chars ({self.max_chars})."
            )

    @property
    def fingerprint(self) -> str:
        """Name of these settings; passages stored under another one are split anew."""
        return f"semantic:{self.max_chars}:{self.overlap}"

    def split(self, text: str, kind: TextKind = "prose") -> Iterator[Passage]:
        """Yield the passages of `text` in order; none is empty or only white space.

        Parameters
        ----------
        text
            Any text, of any length.
        kind
            ``"prose"``; ``"markdown"``: cut along its structure; ``"code"``: line ends always
            outrank sentences, while prose may be wrapped at any word.

        Raises
        ------
        InvalidInputError
            The kind is unknown, or the text has a lone surrogate.
        MissingExtraError
            The package semantic-text-splitter is not installed.
        """
        if kind not in get_args(TextKind):
            raise InvalidInputError(f"kind is {kind!r}. Expected one of {get_args(TextKind)}.")
        check_unicode(text, "text")
        module = require("semantic_text_splitter", "text")
        # What joining may add is kept back, so that joined passages keep to `max_chars` too.
        small = self.max_chars // 8
        plain = module.TextSplitter(self.max_chars - small, overlap=self.overlap)
        blocks = module.MarkdownSplitter(self.max_chars - small, overlap=self.overlap)
        base = 0
        while base < len(text):
            window = text[base : base + _WINDOW_CHARS + 1]
            window = window[: cut_point(window, _WINDOW_CHARS)]
            shadow = window if kind == "code" else _unwrapped(window)
            found = plain.chunk_indices(shadow)
            if kind == "markdown":
                found = _recut(shadow, blocks.chunk_indices(shadow), plain.chunk_indices)
            show = _visible if kind == "markdown" else str
            spans = [
                _Span(at, at + len(piece), len(show(piece)) < small)
                for at, piece in found
                if kind != "markdown" or _WORD.search(show(piece))
            ]
            for span in _joined(spans, self.max_chars):
                yield Passage(window[span.start : span.end], base + span.start, base + span.end)
            base += len(window)


class _Span(NamedTuple):
    start: int
    end: int
    is_small: bool


def _unwrapped(text: str) -> str:
    """Return `text`, as long as before, with spaces for line ends inside sentences.

    The splitter ranks a line's end above a sentence's, so it would cut wrapped prose (and the
    text of PDF pages, which has no empty lines) in the middle of sentences. A line end counts as
    inside a sentence when no punctuation stands before it and a small letter after it.
    """
    return _WRAP.sub(
        lambda found: found[1] + " " * len(found[2]) if found[3].islower() else found[0], text
    )


def _recut(
    text: str, found: list[tuple[int, str]], cut: Callable[[str], list[tuple[int, str]]]
) -> list[tuple[int, str]]:
    """Cut again, as prose, the runs of pieces that were cut within a line.

    The Markdown splitter ranks the edges of inline elements above a sentence's end, so it starts
    passages at the comma after a link.
    """
    runs: list[list[tuple[int, str]]] = []
    end = 0
    for at, piece in found:
        if runs and "\n" not in text[end:at]:
            runs[-1].append((at, piece))
        else:
            runs.append([(at, piece)])
        end = at + len(piece)
    again: list[tuple[int, str]] = []
    for run in runs:
        start, stop = run[0][0], run[-1][0] + len(run[-1][1])
        fresh = [(start + at, piece) for at, piece in cut(text[start:stop])]
        again += fresh if len(run) > 1 else run
    return again


def _visible(markdown: str) -> str:
    """Return what a reader sees: anchors and comments count for nothing."""
    return _MARKUP.sub("", markdown).strip()


def _joined(spans: list[_Span], limit: int) -> list[_Span]:
    """Join each small span to the next one, or else to the one before, where the sum fits."""
    below: list[_Span] = []
    # From the last to the first, so that a heading goes to its text before anything joins it.
    for span in reversed(spans):
        if below and span.is_small and below[-1].end - span.start <= limit:
            span = _Span(span.start, below.pop().end, False)
        below.append(span)
    joined: list[_Span] = []
    for span in reversed(below):
        if joined and span.is_small and span.end - joined[-1].start <= limit:
            span = _Span(joined.pop().start, span.end, False)
        joined.append(span)
    return joined
