"""Our store as users have it, and as spare as peers that sync nothing and index no texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._types import Durability, FloatArray
from m2m_rag.bench.store.base import COLLECTION, StoreMethod
from m2m_rag.bench.store.conditions import Terms, as_where
from m2m_rag.bench.store.data import Batch, Schema


class M2MStore(StoreMethod):
    """One collection, with the durability, full-text index, recall and backend that are default.

    The index of vectors is built in the background, and `finish` waits for it.
    """

    name: ClassVar[str] = "m2m"
    package: ClassVar[str] = "m2m_rag"
    distribution: ClassVar[str] = "m2m-rag"
    n_warm_up: ClassVar[int] = 6000
    durability: ClassVar[Durability] = "full"
    tokenizer: ClassVar[str | None] = "unicode61"

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        super().__init__(folder, schema, n_threads)
        from m2m_rag.database import Database

        self._kind = Database
        self._database: Any = None
        self._collection: Any = None

    def create(self) -> None:
        """Make the database and its collection."""
        self._connect()
        self._collection = self._database.create(
            COLLECTION, self.schema.dimension, tokenizer=self.tokenizer
        )

    def open(self) -> None:
        """Open both."""
        self._connect()
        self._collection = self._database.open(COLLECTION)

    def add(self, batch: Batch) -> None:
        """Add in one commit."""
        ids = [str(row) for row in batch.rows]
        self._collection.add(batch.vectors, ids=ids, texts=batch.texts, metadatas=batch.metadatas)

    def finish(self) -> None:
        """Wait for the index."""
        self._collection.wait_for_index()

    def search(self, query: FloatArray, k: int, terms: Terms) -> list[int]:
        """Search; hits carry text and metadata."""
        return [int(hit.id) for hit in self._collection.search(query, k, where=as_where(terms))]

    def delete(self, terms: Terms) -> None:
        """Delete in one commit."""
        self._collection.delete(where=as_where(terms))

    def count(self) -> int:
        """Ask the catalog."""
        return len(self._collection)

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def parameters(self) -> dict[str, Any]:
        """Return what the collection says of itself."""
        stats = self._collection.stats()
        return {key: stats[key] for key in ("metric", "backend", "durability", "tokenizer")}

    def _connect(self) -> None:
        self._database = self._kind(self.folder, durability=self.durability)


class M2MLeanStore(M2MStore):
    """Nothing synced and no full-text index, as with LanceDB and Qdrant unless told otherwise."""

    name: ClassVar[str] = "m2m-lean"
    durability: ClassVar[Durability] = "off"
    tokenizer: ClassVar[str | None] = None
