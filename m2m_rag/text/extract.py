"""Extractive answers: the sentences of the found passages that fit a question best.

Nothing is written anew; a sentence is returned as it stands in a passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from m2m_rag._types import Hit, Record
from m2m_rag.errors import InvalidInputError
from m2m_rag.text.embedders.base import Embedder

_FENCED = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_MARKUP = re.compile(r"<!--.*?-->|</?[A-Za-z][^<>]*>", re.DOTALL)
# Headings, table rows, rules and directives say nothing by themselves.
_NO_PROSE = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]|\||\.\. |([-=*_~^\"'+])\1{2,}[ \t]*$).*$", re.MULTILINE
)
# A block ends at an empty line and where a list item begins.
_BLOCK_END = re.compile(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t])")
_BULLET = re.compile(r"^(?:[-*+>]|\d{1,3}[.)])[ \t]+")
# Closing marks may follow the full stop; the next sentence starts with no small letter.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[^\sa-z])|(?<=[。！？])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|Dr|Mr|Mrs|Ms|Prof|Fig|No|St)|\b[A-Z])\.$")
_MIN_WORDS = 4


class ExtractiveSentence(NamedTuple):
    """A sentence taken from a passage.

    Attributes
    ----------
    sentence
        The sentence, its white space folded to single spaces.
    score
        Cosine similarity with the question.
    passage
        Position in the given passages of the one that it comes from.
    """

    sentence: str
    score: float
    passage: int


def best_sentences(
    question: str, passages: Sequence[str | Hit | Record], embedder: Embedder, n: int = 1
) -> list[ExtractiveSentence]:
    """Return the `n` sentences that fit the question best, best first: an extractive answer.

    Parameters
    ----------
    question
        What was asked.
    passages
        Texts, or hits of a search (those without text count as empty).
    embedder
        Compares the sentences with the question; the one that filled the collection fits.
    n
        How many sentences, at least 1; fewer come back when there are fewer. A sentence that
        stands in several passages comes once, from the first.
    """
    if n < 1:
        raise InvalidInputError(f"n is {n}. Expected at least 1 sentence.")
    origin: dict[str, int] = {}
    for position, passage in enumerate(passages):
        for sentence in sentences(passage if isinstance(passage, str) else passage.text or ""):
            origin.setdefault(sentence, position)
    if not origin:
        return []
    found = list(origin)
    vectors = embedder.embed_documents(found)
    query = embedder.embed_query(question)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores = np.divide(vectors @ query, norms, out=np.zeros(len(found)), where=norms > 0)
    best = np.argsort(-scores, kind="stable")[:n]
    return [ExtractiveSentence(found[i], float(scores[i]), origin[found[i]]) for i in best]


def sentences(text: str) -> list[str]:
    """Split a passage into sentences, white space folded.

    Headings, tables, comments and fenced code are left out, list items stand by themselves, and
    a sentence ends at ``. ! ? …`` before white space and anything but a small letter, unless an
    abbreviation or an initial stands before it. Fragments of less than four words are dropped
    (not in scripts without spaces). A passage with nothing else is returned as one sentence.
    """
    prose = _NO_PROSE.sub("\n", _MARKUP.sub("", _FENCED.sub("\n\n", text)))
    found = [
        sentence
        for block in _BLOCK_END.split(prose)
        for sentence in _sentences(_BULLET.sub("", " ".join(block.split())))
        if len(sentence.split()) >= _MIN_WORDS or not sentence.isascii()
    ]
    whole = " ".join(text.split())
    return found or ([whole] if whole else [])


def _sentences(block: str) -> list[str]:
    found: list[str] = []
    start = 0
    for end in _SENTENCE_END.finditer(block):
        sentence = block[start : end.end()].strip()
        if not _ABBREVIATION.search(sentence):
            found.append(sentence)
            start = end.end()
    rest = block[start:].strip()
    return [*found, rest] if rest else found
