"""Searching by words (BM25), and by words and meaning at once; sync and natively async."""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.documents import Document

from langchain_m2m._arguments import reject_unknown
from langchain_m2m._base import StoreBase
from langchain_m2m._documents import documents_of, pairs_of
from langchain_m2m._embedding import Vector
from langchain_m2m._filters import FilterLike, read_filter
from m2m_rag import Fusion
from m2m_rag.errors import InvalidInputError

RANKS = Fusion()
"""How two rankings become one unless told otherwise."""
SCORED = {
    "similarity": "similarity_search_with_score",
    "mmr": "max_marginal_relevance_search_with_score",
    "similarity_score_threshold": "similarity_search_with_relevance_scores",
    "hybrid": "hybrid_search_with_score",
    "text": "text_search_with_score",
}
"""Each search type, and the store's method that gives documents with their scores."""


class WordMethods(StoreBase):
    """The methods that rank by the words of a document.

    Nothing in a question acts as a query language. A filter is a dictionary or a filter tree; a
    function is refused, for it would have to be asked about every document.
    """

    def text_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Return the k best documents that hold any word of `query`; nothing is embedded."""
        reject_unknown(self.text_search, unknown)
        return documents_of(self.text_search_with_score(query, k, filter))

    async def atext_search(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[Document]:
        """Do what `text_search` does, in a thread."""
        reject_unknown(self.atext_search, unknown)
        return documents_of(await self.atext_search_with_score(query, k, filter))

    def text_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their BM25 score (higher is better), best first."""
        reject_unknown(self.text_search_with_score, unknown)
        return self._by_words(query, None, k, filter, RANKS)

    async def atext_search_with_score(
        self, query: str, k: int = 4, filter: FilterLike = None, **unknown: Any
    ) -> list[tuple[Document, float]]:
        """Do what `text_search_with_score` does, in a thread."""
        reject_unknown(self.atext_search_with_score, unknown)
        return await asyncio.to_thread(self._by_words, query, None, k, filter, RANKS)

    def hybrid_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,
        fusion: Fusion = RANKS,
        **unknown: Any,
    ) -> list[Document]:
        """Return the k best documents by words and meaning.

        Parameters
        ----------
        query
            The question; embedded with ``embed_query``, and read for its words.
        k
            How many documents; whenever k match the filter, k come back.
        filter
            A dictionary or a tree of `m2m_rag.filters`; it applies to both rankings.
        fusion
            How the two rankings become one: by reciprocal ranks, or by weights with
            ``m2m_rag.Fusion("alpha", alpha=0.7)``.
        """
        reject_unknown(self.hybrid_search, unknown)
        return documents_of(self.hybrid_search_with_score(query, k, filter, fusion))

    async def ahybrid_search(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,
        fusion: Fusion = RANKS,
        **unknown: Any,
    ) -> list[Document]:
        """Do what `hybrid_search` does, awaiting the embedding's own ``aembed_query``."""
        reject_unknown(self.ahybrid_search, unknown)
        return documents_of(await self.ahybrid_search_with_score(query, k, filter, fusion))

    def hybrid_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,
        fusion: Fusion = RANKS,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        """Return documents with their fused score from 0 to 1 (higher is better), best first.

        It tells how high a document stands in the two rankings: it is no similarity, and no
        relevance that a threshold could be set for.
        """
        reject_unknown(self.hybrid_search_with_score, unknown)
        return self._by_words(query, self._embed_query(query), k, filter, fusion)

    async def ahybrid_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: FilterLike = None,
        fusion: Fusion = RANKS,
        **unknown: Any,
    ) -> list[tuple[Document, float]]:
        """Do what `hybrid_search_with_score` does, awaiting ``aembed_query``."""
        reject_unknown(self.ahybrid_search_with_score, unknown)
        vector = await self._aembed_query(query)
        return await asyncio.to_thread(self._by_words, query, vector, k, filter, fusion)

    def search(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Search by a type of `M2MRetriever`, with that search's arguments."""
        if _is_by_words(search_type):
            return documents_of(getattr(self, SCORED[search_type])(query, **kwargs))
        return super().search(query, search_type, **kwargs)

    async def asearch(self, query: str, search_type: str, **kwargs: Any) -> list[Document]:
        """Do what `search` does, awaiting the embedding's own ``aembed_query``."""
        if _is_by_words(search_type):
            return documents_of(await getattr(self, "a" + SCORED[search_type])(query, **kwargs))
        return await super().asearch(query, search_type, **kwargs)

    def _by_words(
        self, query: str, vector: Vector | None, k: int, filter: FilterLike, fusion: Fusion
    ) -> list[tuple[Document, float]]:
        where, keep = read_filter(filter)
        if keep is not None:
            raise InvalidInputError(
                "filter is a function; a search by words takes a dictionary, such as "
                '{"year": {"$gte": 2020}}, or a tree of m2m_rag.filters.'
            )
        collection = self._handle.find()
        if collection is None:
            return []
        return pairs_of(collection.search(vector, k, text=query, where=where, fusion=fusion))


def _is_by_words(search_type: str) -> bool:
    if search_type not in SCORED:
        raise InvalidInputError(
            f"search_type is {search_type!r}; expected one of {', '.join(map(repr, SCORED))}."
        )
    return search_type in ("hybrid", "text")
