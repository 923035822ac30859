"""Ids and hashes that depend on content alone, the same on every platform.

A passage's id is the BLAKE2b-128 hash of its root, source, text and ordinal: the how-many-th
passage of exactly this text it is in its source, from 0. So a passage keeps its id when text
around it changes or when it moves within its source, and equal passages of one source stay apart.
Root and source are POSIX paths (``/`` between names), so Windows and Linux give equal ids for
equal paths.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20


def passage_id(root: str, source: str, text: str, ordinal: int) -> str:
    """Return the id of a passage as 32 hexadecimal digits.

    Examples
    --------
    >>> passage_id("/docs", "a.md", "Hello.", 0)
    'ece200e693486aa8d74faef681912eed'
    """
    return _hash(root, source, text, str(ordinal)).hexdigest()


def text_key(text: str) -> bytes:
    """Return a 16-byte key that stands for `text` when counting equal texts."""
    return _hash(text).digest()


def file_hash(path: Path) -> str:
    """Return the hash of a file's bytes, read in pieces, as 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def document_hash(text: str, *rest: Any) -> str:
    """Return the hash of an in-memory document: its text and other JSON values."""
    return _hash(text, json.dumps(rest, sort_keys=True, default=repr)).hexdigest()


def _hash(*parts: str) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        # The length stands before each part, so that ("ab", "c") and ("a", "bc") differ.
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest
