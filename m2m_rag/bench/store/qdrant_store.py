"""Qdrant without a server: the local mode of its client, which searches all records by numpy."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray
from m2m_rag.bench.store.base import COLLECTION, StoreMethod
from m2m_rag.bench.store.conditions import Terms
from m2m_rag.bench.store.data import TEXT, Batch, Schema


class QdrantStore(StoreMethod):
    """Exact search; there is nothing to set. Its warning that 20,000 records are many is muted."""

    name: ClassVar[str] = "qdrant"
    package: ClassVar[str] = "qdrant_client"
    distribution: ClassVar[str] = "qdrant-client"
    max_queries: ClassVar[int | None] = 20

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        super().__init__(folder, schema, n_threads)
        self._qdrant: Any = require("qdrant_client", "bench-store")
        self._client: Any = None

    def create(self) -> None:
        """Make the collection."""
        self.open()
        models = self._qdrant.models
        vectors = models.VectorParams(size=self.schema.dimension, distance=models.Distance.COSINE)
        self._client.create_collection(COLLECTION, vectors_config=vectors)

    def open(self) -> None:
        """Load all records into memory."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client = self._qdrant.QdrantClient(path=str(self.folder))

    def add(self, batch: Batch) -> None:
        """Upsert in one call, the text as part of the payload."""
        payloads = [
            {**metadata, TEXT: text}
            for metadata, text in zip(batch.metadatas, batch.texts, strict=True)
        ]
        points = self._qdrant.models.Batch(
            ids=batch.rows, vectors=batch.vectors.tolist(), payloads=payloads
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client.upsert(COLLECTION, points)

    def search(self, query: FloatArray, k: int, terms: Terms) -> list[int]:
        """Query one, payloads included."""
        found = self._client.query_points(
            COLLECTION, query=query, limit=k, query_filter=self._filter(terms), with_payload=True
        )
        return [int(point.id) for point in found.points]

    def delete(self, terms: Terms) -> None:
        """Delete by filter."""
        selector = self._qdrant.models.FilterSelector(filter=self._filter(terms))
        self._client.delete(COLLECTION, selector)

    def count(self) -> int:
        """Count."""
        return int(self._client.count(COLLECTION).count)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def parameters(self) -> dict[str, Any]:
        """Return nothing: there is nothing to choose."""
        return {}

    def _filter(self, terms: Terms) -> Any:
        models = self._qdrant.models
        conditions = [
            models.FieldCondition(key=key, match=models.MatchValue(value=value))
            if op == "eq"
            else models.FieldCondition(key=key, range=models.Range(gte=value))
            for key, op, value in terms
        ]
        return models.Filter(must=conditions) if conditions else None
