"""Embed staged passages and commit them: small sources together, large ones in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag.collection import Collection
from m2m_rag.errors import DimensionError
from m2m_rag.text.embedders.base import Embedder
from m2m_rag.text.records import Piece

COMMIT_PASSAGES = 512
"""Most passages of a commit: a source with at most so many is swapped in one."""


class Staged(NamedTuple):
    """A source that waits for its commit."""

    source: str
    is_held: bool
    pieces: list[Piece]


class Writer:
    """Writes the passages of sources under one root.

    Attributes
    ----------
    n_passages, n_embedded
        Passages committed and texts embedded so far.
    n_waiting
        Sources that are staged and not yet committed.
    """

    def __init__(
        self,
        collection: Collection,
        embedder: Embedder,
        root: str,
        batch_size: int,
        on_embedded: Callable[[], None],
    ) -> None:
        self.n_passages = 0
        self.n_embedded = 0
        self._collection = collection
        self._embedder = embedder
        self._root = root
        self._batch_size = batch_size
        self._on_embedded = on_embedded
        self._staged: list[Staged] = []

    @property
    def n_waiting(self) -> int:
        """Sources that are staged and not yet committed."""
        return len(self._staged)

    def stage(self, source: str, is_held: bool, pieces: list[Piece]) -> None:
        """Take a source of at most `COMMIT_PASSAGES` passages into the next commit it fits in."""
        if sum(len(one.pieces) for one in self._staged) + len(pieces) > COMMIT_PASSAGES:
            self.flush()
        self._staged.append(Staged(source, is_held, pieces))

    def flush(self) -> None:
        """Commit what is staged. Passages that its sources had before go in the same commit."""
        held = [one.source for one in self._staged if one.is_held]
        # New sources need no search for passages to replace, which would read all metadata.
        replace = self._where(held) if held else None
        pieces = [_counted(piece, len(one.pieces)) for one in self._staged for piece in one.pieces]
        if pieces:
            self._upsert(pieces, replace)
        elif replace:
            self._collection.delete(where=replace)
        self._staged.clear()

    def write_large(self, source: str, n_passages: int, pieces: Iterator[Piece]) -> None:
        """Commit a large source in parts, then delete the passages that it no longer has."""
        new: set[str] = set()
        while part := [_counted(piece, n_passages) for piece in islice(pieces, COMMIT_PASSAGES)]:
            self._upsert(part, None)
            new.update(piece.id for piece in part)
        stale = [id for id in self._collection.ids(where=self._where([source])) if id not in new]
        self._collection.delete(stale)

    def delete(self, sources: Sequence[str]) -> None:
        """Delete all passages of these sources in one commit."""
        self._collection.delete(where=self._where(sources))

    def _upsert(self, pieces: list[Piece], replace_where: dict[str, Any] | None) -> None:
        vectors = self._vectors([piece.text for piece in pieces])
        self._collection.bind_embedder(self._embedder.fingerprint)
        self._collection.upsert(
            vectors,
            ids=[piece.id for piece in pieces],
            texts=[piece.text for piece in pieces],
            metadatas=[piece.metadata for piece in pieces],
            replace_where=replace_where,
        )
        self.n_passages += len(pieces)

    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the vectors of `texts`, embedding each text that has none only once."""
        known = dict(self._collection.vectors_of_texts(texts))
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            self._check_dimension()
        for at in range(0, len(missing), self._batch_size):
            batch = missing[at : at + self._batch_size]
            known.update(zip(batch, self._embedder.embed_documents(batch), strict=True))
            self.n_embedded += len(batch)
            self._on_embedded()
        return np.stack([known[text] for text in texts])

    def _check_dimension(self) -> None:
        expected = self._collection.dimension
        if expected is not None and self._embedder.dimension != expected:
            raise DimensionError(
                f"the embedder {self._embedder.fingerprint!r} gives vectors of length "
                f"{self._embedder.dimension}. The collection {self._collection.name!r} expects "
                f"{expected}: use the embedder that filled it, or another collection."
            )

    def _where(self, sources: Sequence[str]) -> dict[str, Any]:
        return {"$and": [{"root": self._root}, {"source": {"$in": list(sources)}}]}


def _counted(piece: Piece, n_passages: int) -> Piece:
    return piece._replace(metadata={**piece.metadata, "n_passages": n_passages})
