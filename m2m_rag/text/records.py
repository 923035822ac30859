"""Turn a source's sections into the records that are stored.

Every record's metadata has ``source``, ``root``, ``title``, ``start`` and ``end`` (characters in
the section's text, or in the file's text for formats that are stored as they are), ``passage``
(number from 0), ``n_passages``, ``source_hash`` and ``splitter``, and where the format has them
``page`` and ``line``. What the loader found stands beside them under its own names. A name of this
list that a document uses itself is stored with ``document_`` before it: the field ``source`` of a
JSON line becomes ``document_source``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from m2m_rag.storage.metadata import encode_metadata
from m2m_rag.text.ids import passage_id, text_key
from m2m_rag.text.loaders.base import Section
from m2m_rag.text.splitting import Splitter

STATE_FIELDS = frozenset({"source", "root", "source_hash", "splitter", "n_passages"})
"""What the next ingest reads back, to tell what has changed."""
RESERVED = STATE_FIELDS | {"title", "start", "end", "page", "line", "passage"}


class Piece(NamedTuple):
    """A record before it is embedded; ``n_passages`` is still to be added to its metadata."""

    id: str
    text: str
    metadata: dict[str, Any]


def pieces(
    sections: Iterator[Section], splitter: Splitter, root: str, source: str, source_hash: str
) -> Iterator[Piece]:
    """Yield the records of a source in order.

    Raises
    ------
    InvalidInputError
        A text or a metadata value cannot be stored, or whatever the loader raises.
    """
    seen: Counter[bytes] = Counter()
    number = 0
    for section in sections:
        own = renamed(section.metadata)
        line, counted = section.line, 0
        for text, start, end in splitter.split(section.text, section.kind):
            if line is not None and section.verbatim:
                line += section.text.count("\n", counted, start)
                counted = start
            metadata = {
                "source": source,
                "root": root,
                "title": section.title,
                "start": section.offset + start,
                "end": section.offset + end,
                **({} if section.page is None else {"page": section.page}),
                **({} if line is None else {"line": line}),
                "passage": number,
                "source_hash": source_hash,
                "splitter": splitter.fingerprint,
                **own,
            }
            encode_metadata(metadata, f"{source}, passage {number}")
            key = text_key(text)
            yield Piece(passage_id(root, source, text, seen[key]), text, metadata)
            seen[key] += 1
            number += 1


def renamed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's own metadata with reserved names moved out of the way."""
    moved: dict[str, Any] = {}
    for name, value in metadata.items():
        new = name
        while new in RESERVED or (new != name and new in metadata):
            new = f"document_{new}"
        moved[new] = value
    return moved
