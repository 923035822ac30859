"""The retriever: LangChain's own, which can also hand on the scores."""

from __future__ import annotations

from typing import Any, ClassVar

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever

from langchain_m2m._words import SCORED
from m2m_rag.errors import InvalidInputError


class M2MRetriever(VectorStoreRetriever):
    """A `VectorStoreRetriever` over an `M2MVectorStore`, from ``store.as_retriever(...)``.

    Attributes
    ----------
    search_type, search_kwargs
        As in LangChain: ``"similarity"``, ``"mmr"`` or ``"similarity_score_threshold"``; and
        ``"hybrid"`` (by words and meaning, with ``fusion`` among the `search_kwargs`) or
        ``"text"`` (by words alone).
    score_key
        When set, each document's metadata carries its score under this key: the similarity
        (higher is better) for the first two search types, the relevance in [0, 1] for the third,
        the fused score in [0, 1] for ``"hybrid"``, BM25's for ``"text"``. What is stored stays as
        it is. A document that has the key already is an error, so that no score ever hides a
        user's value.
    """

    score_key: str | None = None
    allowed_search_types: ClassVar[tuple[str, ...]] = tuple(SCORED)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        options = self.search_kwargs | kwargs
        if self.score_key is None:
            return self.vectorstore.search(query, self.search_type, **options)
        search = getattr(self.vectorstore, SCORED[self.search_type])
        return _with_scores(search(query, **options), self.score_key)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        options = self.search_kwargs | kwargs
        if self.score_key is None:
            return await self.vectorstore.asearch(query, self.search_type, **options)
        search = getattr(self.vectorstore, "a" + SCORED[self.search_type])
        return _with_scores(await search(query, **options), self.score_key)


def _with_scores(pairs: list[tuple[Document, float]], key: str) -> list[Document]:
    for document, score in pairs:
        if key in document.metadata:
            raise InvalidInputError(
                f"document {document.id!r} already has the metadata key {key!r}, so its score "
                "cannot go there. Choose another score_key."
            )
        document.metadata[key] = score
    return [document for document, _ in pairs]
