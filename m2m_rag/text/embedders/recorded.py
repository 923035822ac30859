"""From a fingerprint back to the embedder: what filled a collection can query it."""

from __future__ import annotations

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.embedders.base import Embedder
from m2m_rag.text.embedders.hashing import HashingEmbedder
from m2m_rag.text.embedders.sentence_transformers import MINILM, SentenceTransformerEmbedder


def recorded_embedder(fingerprint: str) -> Embedder:
    """Return the embedder that a collection recorded with `Collection.bind_embedder`.

    Only the embedders known here are made: a database file that comes from elsewhere cannot name
    a model to be fetched and loaded.

    Raises
    ------
    InvalidInputError
        It is another one: the caller must name the embedder.

    Examples
    --------
    >>> recorded_embedder("hashing-lexical-not-semantic-v1-d64").dimension
    64
    """
    if fingerprint == MINILM:
        return SentenceTransformerEmbedder()
    size = fingerprint.rpartition("-d")[2]
    if size.isdecimal() and 8 <= int(size) < 1 << 16:
        hashing = HashingEmbedder(int(size))
        if hashing.fingerprint == fingerprint:
            return hashing
    raise InvalidInputError(
        f"the collection was filled by {fingerprint!r}, which is not loaded by that name alone. "
        "Give the embedder that filled it; on the command line --embedder st:MODEL, where MODEL "
        "is a sentence-transformers name or folder."
    )
