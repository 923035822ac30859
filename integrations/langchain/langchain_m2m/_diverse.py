"""Maximal marginal relevance: near the question, far from each other; sync and natively async."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.documents import Document

from langchain_m2m._arguments import reject_unknown
from langchain_m2m._base import StoreBase
from langchain_m2m._documents import documents_of, pairs_of
from langchain_m2m._embedding import Vector
from langchain_m2m._filters import FilterLike, read_filter
from langchain_m2m._kept import search_mmr_kept


class DiverseMethods(StoreBase):
    """The methods that balance similarity against repetition.

    Each takes the `fetch_k` most similar documents that match the filter and chooses k of them.
    """

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **unknown: Any,
    ) -> list[Document]:
        """Return k documents in MMR order.

        Parameters
        ----------
        query, k, filter
            As in `similarity_search`.
        fetch_k
            How many of the most similar documents are candidates.
        lambda_mult
            1 ranks by similarity alone, 0 asks for the most different documents.
        """
        reject_unknown(self.max_marginal_relevance_search, unknown)
        return documents_of(
            self.max_marginal_relevance_search_with_score(query, k, fetch_k, lambda_mult, filter)
        )

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **unknown: Any,
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search` does, awaiting ``aembed_query``."""
        reject_unknown(self.amax_marginal_relevance_search, unknown)
        return documents_of(
            await self.amax_marginal_relevance_search_with_score(
                query, k, fetch_k, lambda_mult, filter
            )
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **unknown: Any,
    ) -> list[Document]:
        """Return k documents near a vector (list or array) in MMR order."""
        reject_unknown(self.max_marginal_relevance_search_by_vector, unknown)
        return documents_of(self._rank(embedding, k, fetch_k, lambda_mult, filter))

    async def amax_marginal_relevance_search_by_vector(
        self,
        embedding: Vector,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
        **unknown: Any,
    ) -> list[Document]:
        """Do what `max_marginal_relevance_search_by_vector` does, in a thread."""
        reject_unknown(self.amax_marginal_relevance_search_by_vector, unknown)
        return documents_of(
            await asyncio.to_thread(self._rank, embedding, k, fetch_k, lambda_mult, filter)
        )

    def max_marginal_relevance_search_with_score(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
    ) -> list[tuple[Document, float]]:
        """Return k documents in MMR order with their similarity to the query."""
        return self._rank(self._embed_query(query), k, fetch_k, lambda_mult, filter)

    async def amax_marginal_relevance_search_with_score(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: FilterLike = None,
    ) -> list[tuple[Document, float]]:
        """Do what `max_marginal_relevance_search_with_score` does, awaiting ``aembed_query``."""
        vector = await self._aembed_query(query)
        return await asyncio.to_thread(self._rank, vector, k, fetch_k, lambda_mult, filter)

    def _rank(
        self,
        vector: Vector,
        k: int,
        fetch_k: int,
        lambda_mult: float,
        filter: FilterLike,
    ) -> list[tuple[Document, float]]:
        where, keep = read_filter(filter)
        collection = self._handle.find()
        if collection is None:
            return []
        if keep is None:
            return pairs_of(
                collection.search_mmr(
                    vector, k, fetch_k=fetch_k, lambda_mult=lambda_mult, where=where
                )
            )
        return pairs_of(
            search_mmr_kept(collection, vector, k, keep, fetch_k=fetch_k, lambda_mult=lambda_mult)
        )
