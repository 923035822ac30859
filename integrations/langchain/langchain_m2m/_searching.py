"""Searching: by question or by vector, with scores or relevance, sync and natively async.

Every score is a similarity: higher is better, for all three metrics (cosine in [-1, 1], inner
product, minus the Euclidean distance). Relevance is in [0, 1] and keeps the order of the scores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from langchain_core.documents import Document

from langchain_m2m._arguments import reject_unknown
from langchain_m2m._base import StoreBase
from langchain_m2m._documents import documents_of, pairs_of
from langchain_m2m._embedding import Vector
from langchain_m2m._filters import FilterLike, read_filter
from langchain_m2m._kept import search_kept
from m2m_rag.errors import InvalidInputError
from m2m_rag.scores import relevance


class SearchingMethods(StoreBase):
    """The methods that rank documents."""

    score_kind = "similarity"
    """Direction of every score: a similarity, higher is better."""

    _relevance_score_fn: Callable[[float], float] | None

    def similarity_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Return the k documents most similar to `query`, best first.

        Parameters
        ----------
        query
            The question; embedded with ``embed_query``.
        k
            How many documents; whenever k match the filter, k come back.
        filter
            A dictionary (``{"year": {"$gte": 2020}}``), a tree of `m2m_rag.filters`, or a
            function from a document to True or False.
        """
        reject_unknown(self.similarity_search, unknown)
        return documents_of(self.similarity_search_with_score(query, k, filter))

    async def asimilarity_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Do what `similarity_search` does, awaiting the embedding's own ``aembed_query``."""
        reject_unknown(self.asimilarity_search, unknown)
        return documents_of(await self.asimilarity_search_with_score(query, k, filter))

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity (higher is better), best first."""
        reject_unknown(self.similarity_search_with_score, unknown)
        vector = self._embed_query(query)
        return self.similarity_search_with_score_by_vector(vector, k, filter)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Do what `similarity_search_with_score` does, awaiting ``aembed_query``."""
        reject_unknown(self.asimilarity_search_with_score, unknown)
        vector = await self._aembed_query(query)
        return await self.asimilarity_search_with_score_by_vector(vector, k, filter)

    def similarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Return the documents nearest to a vector (list or array), best first."""
        reject_unknown(self.similarity_search_by_vector, unknown)
        return documents_of(self.similarity_search_with_score_by_vector(embedding, k, filter))

    async def asimilarity_search_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Do what `similarity_search_by_vector` does, in a thread."""
        reject_unknown(self.asimilarity_search_by_vector, unknown)
        return documents_of(
            await self.asimilarity_search_with_score_by_vector(embedding, k, filter)
        )

    def similarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their similarity to a vector (higher is better), best first."""
        reject_unknown(self.similarity_search_with_score_by_vector, unknown)
        if np.ndim(embedding) != 1:
            raise InvalidInputError(
                f"the vector has {np.ndim(embedding)} dimensions; one vector (d,) is expected."
            )
        selection = read_filter(filter)
        collection = self._handle.find()
        if collection is None:
            return []
        if selection.keep is None:
            return pairs_of(collection.search(embedding, k, where=selection.where))
        return pairs_of(search_kept(collection, embedding, k, selection.keep))

    async def asimilarity_search_with_score_by_vector(
        self, embedding: Vector, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Do what `similarity_search_with_score_by_vector` does, in a thread."""
        reject_unknown(self.asimilarity_search_with_score_by_vector, unknown)
        return await asyncio.to_thread(
            self.similarity_search_with_score_by_vector, embedding, k, filter
        )

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        if self._relevance_score_fn is not None:
            return self._relevance_score_fn
        return partial(relevance, metric=self._handle.metric)
