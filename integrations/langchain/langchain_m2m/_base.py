"""What the parts of the store share: its collection and its embedding."""

from __future__ import annotations

import asyncio

from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from langchain_m2m._arguments import Batch
from langchain_m2m._handle import CollectionHandle
from m2m_rag import Collection
from m2m_rag.errors import InvalidInputError
from m2m_rag.records import as_records


class StoreBase(VectorStore):
    """State of the store; `M2MVectorStore` fills it."""

    _handle: CollectionHandle
    _embedding: Embeddings | None
    _fingerprint: str | None

    @property
    def embeddings(self) -> Embeddings | None:
        """The embedding behind LangChain's interface, or None."""
        return self._embedding

    @property
    def collection(self) -> Collection:
        """The m2m_rag collection under this store, created if it does not exist yet."""
        return self._handle.ensure()

    def _require_embedding(self) -> Embeddings:
        if self._embedding is None:
            raise InvalidInputError(
                "this store has no embedding, so it cannot turn text into vectors. Pass one "
                "(M2MVectorStore(embedding, ...)), or use the methods that take vectors: "
                "add_embeddings and similarity_search_by_vector."
            )
        return self._embedding

    def _prepare_writing(self, batch: Batch) -> None:
        """Refuse a write that must fail before the embedding is paid for."""
        as_records(len(batch.ids), batch.ids, batch.texts, batch.metadatas, None, None)
        self._handle.check_capacity(batch.ids)
        collection = self._handle.ensure()
        if self._fingerprint is not None:
            collection.bind_embedder(self._fingerprint)

    def _prepare_asking(self) -> None:
        """Refuse a question in another model's space; reading never binds."""
        collection = self._handle.find()
        if self._fingerprint and collection is not None and collection.embedder is not None:
            collection.bind_embedder(self._fingerprint)

    def _embed_query(self, query: str) -> list[float]:
        embedding = self._require_embedding()
        self._prepare_asking()
        return embedding.embed_query(query)

    async def _aembed_query(self, query: str) -> list[float]:
        embedding = self._require_embedding()
        await asyncio.to_thread(self._prepare_asking)
        return await embedding.aembed_query(query)
