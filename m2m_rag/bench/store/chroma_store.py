"""Chroma: its persistent client, without telemetry and without an embedding function."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray
from m2m_rag.bench.store.base import COLLECTION, StoreMethod
from m2m_rag.bench.store.conditions import Terms, as_where
from m2m_rag.bench.store.data import Batch, Schema


class ChromaStore(StoreMethod):
    """HNSW with the default width, told the number of threads."""

    name: ClassVar[str] = "chroma"
    package: ClassVar[str] = "chromadb"
    distribution: ClassVar[str] = "chromadb"

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        super().__init__(folder, schema, n_threads)
        self._chromadb: Any = require("chromadb", "bench-store")
        self._client: Any = None
        self._collection: Any = None

    def create(self) -> None:
        """Make the collection."""
        self._connect()
        self._collection = self._client.create_collection(
            COLLECTION,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine", "num_threads": self.n_threads}},
        )

    def open(self) -> None:
        """Open the collection."""
        self._connect()
        self._collection = self._client.get_collection(COLLECTION, embedding_function=None)

    def add(self, batch: Batch) -> None:
        """Add in one call."""
        self._collection.add(
            ids=[str(row) for row in batch.rows],
            embeddings=batch.vectors,
            documents=batch.texts,
            metadatas=[metadata or None for metadata in batch.metadatas],
        )

    def search(self, query: FloatArray, k: int, terms: Terms) -> list[int]:
        """Query one."""
        found = self._collection.query(
            query_embeddings=query[None],
            n_results=k,
            where=as_where(terms),
            include=["documents", "metadatas", "distances"],
        )
        return [int(id_) for id_ in found["ids"][0]]

    def delete(self, terms: Terms) -> None:
        """Delete by filter."""
        self._collection.delete(where=as_where(terms))

    def count(self) -> int:
        """Count."""
        return int(self._collection.count())

    def close(self) -> None:
        """Stop the client."""
        self._client.close()

    def parameters(self) -> dict[str, Any]:
        """Return the collection's configuration of HNSW."""
        return dict(self._collection.configuration_json["hnsw"])

    def _connect(self) -> None:
        settings = self._chromadb.config.Settings(anonymized_telemetry=False)
        self._client = self._chromadb.PersistentClient(str(self.folder), settings=settings)
