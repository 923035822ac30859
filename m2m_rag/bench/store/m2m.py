"""Our store as users have it: durability full, and the recall and backend that it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._types import FloatArray
from m2m_rag.bench.store.base import COLLECTION, StoreMethod
from m2m_rag.bench.store.conditions import Terms, as_where
from m2m_rag.bench.store.data import Batch, Schema


class M2MStore(StoreMethod):
    """One collection; the index is built in the background, and `finish` waits for it."""

    name: ClassVar[str] = "m2m"
    package: ClassVar[str] = "m2m_rag"
    distribution: ClassVar[str] = "m2m-rag"
    n_warm_up: ClassVar[int] = 6000

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        super().__init__(folder, schema, n_threads)
        from m2m_rag.database import Database

        self._kind = Database
        self._database: Any = None
        self._collection: Any = None

    def create(self) -> None:
        """Make the database and its collection."""
        self._database = self._kind(self.folder)
        self._collection = self._database.create(COLLECTION, self.schema.dimension)

    def open(self) -> None:
        """Open both."""
        self._database = self._kind(self.folder)
        self._collection = self._database.open(COLLECTION)

    def add(self, batch: Batch) -> None:
        """Add in one commit, which is on disk when the call returns."""
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
        """Return backend and metric."""
        stats = self._collection.stats()
        return {"metric": stats["metric"], "backend": stats["backend"]}
