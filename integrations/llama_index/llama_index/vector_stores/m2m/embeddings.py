"""m2m_rag's embedders as a LlamaIndex embedding model."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr

from m2m_rag.text import Embedder, as_embedder


class M2MEmbedding(BaseEmbedding):
    """A LlamaIndex embedding model that asks an m2m_rag embedder.

    Parameters
    ----------
    embedder
        An embedder of `m2m_rag.text`, or what `m2m_rag.text.as_embedder` makes one of, such as
        ``"minilm"``.
    embed_batch_size
        Texts handed to the embedder at once, at most 2048.
    kwargs
        Further fields of LlamaIndex's `BaseEmbedding`, such as ``callback_manager``.

    Raises
    ------
    InvalidInputError
        No embedder can be made of `embedder`.
    """

    _embedder: Embedder = PrivateAttr()

    def __init__(
        self, embedder: Embedder | str, *, embed_batch_size: int = 64, **kwargs: Any
    ) -> None:
        made = as_embedder(embedder)
        super().__init__(model_name=made.fingerprint, embed_batch_size=embed_batch_size, **kwargs)
        self._embedder = made

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows this class."""
        return "M2MEmbedding"

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._embedder.embed_query(query).tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.embed_documents(texts).tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
