"""Embedders: the registry of names, and `as_embedder` for everything else."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple, cast

from m2m_rag.errors import InvalidInputError, did_you_mean
from m2m_rag.text.embedders.base import Embedder
from m2m_rag.text.embedders.foreign import ForeignEmbedder, is_foreign

__all__ = ["EMBEDDERS", "Embedder", "Entry", "as_embedder"]


class Entry(NamedTuple):
    """Where an embedder lives: module, class, the extra it needs (or None), what it is."""

    module: str
    name: str
    extra: str | None
    about: str


EMBEDDERS: dict[str, Entry] = {
    "minilm": Entry(
        "m2m_rag.text.embedders.sentence_transformers",
        "SentenceTransformerEmbedder",
        "text",
        "all-MiniLM-L6-v2, 384 dimensions, English, small and fast",
    ),
    "st": Entry(
        "m2m_rag.text.embedders.sentence_transformers",
        "SentenceTransformerEmbedder",
        "text",
        "st:NAME, any sentence-transformers model by hub name or folder",
    ),
    "hashing": Entry(
        "m2m_rag.text.embedders.hashing",
        "HashingEmbedder",
        None,
        "lexical plumbing without a download, not a semantic model",
    ),
}
"""Name -> embedder. ``st`` is written with a model: ``"st:intfloat/e5-small-v2"``."""


def as_embedder(embedder: object) -> Embedder:
    """Return an `Embedder` for a name or an embedding object.

    Parameters
    ----------
    embedder
        A name of `EMBEDDERS` (``"minilm"``, ``"hashing"``, ``"st:<hub name or folder>"``), an
        `Embedder` (returned as it is), or anything that `ForeignEmbedder` takes.

    Raises
    ------
    InvalidInputError
        The name is unknown or the object is no embedder.

    Examples
    --------
    >>> as_embedder("hashing").dimension
    512
    """
    if isinstance(embedder, str):
        return _named(embedder)
    # Not isinstance(): on a runtime protocol it would read `dimension`, which may load a model.
    if is_foreign(embedder) and isinstance(getattr(embedder, "fingerprint", None), str):
        return cast(Embedder, embedder)
    if is_foreign(embedder):
        return ForeignEmbedder(embedder)
    raise InvalidInputError(
        f"{type(embedder).__name__} is no embedder. Expected one of the names {_names()}, "
        "a LangChain Embeddings, a LlamaIndex BaseEmbedding, or a function from a text to its "
        "vector."
    )


def _named(name: str) -> Embedder:
    key, _, model = name.partition(":")
    if key not in EMBEDDERS or (key == "st") != bool(model):
        raise InvalidInputError(
            f"there is no embedder {name!r}.{did_you_mean(name, EMBEDDERS)} "
            f"Expected one of {_names()}."
        )
    entry = EMBEDDERS[key]
    make: Any = getattr(importlib.import_module(entry.module), entry.name)
    return cast(Embedder, make(model) if model else make())


def _names() -> str:
    return ", ".join(f"{'st:<model>' if name == 'st' else name!r}" for name in EMBEDDERS)
