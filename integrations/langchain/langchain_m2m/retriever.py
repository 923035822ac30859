"""The retriever: LangChain's own, which can also hand on the scores."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStoreRetriever

from langchain_m2m._diverse import DiverseMethods
from m2m_rag.errors import InvalidInputError


class M2MRetriever(VectorStoreRetriever):
    """A `VectorStoreRetriever` over an `M2MVectorStore`, from ``store.as_retriever(...)``.

    Attributes
    ----------
    search_type, search_kwargs
        As in LangChain: ``"similarity"``, ``"mmr"`` or ``"similarity_score_threshold"``.
    score_key
        When set, each document's metadata carries its score under this key: the similarity
        (higher is better) for the first two search types, the relevance in [0, 1] for the third.
        What is stored stays as it is. A document that has the key already is an error, so that
        no score ever hides a user's value.
    """

    score_key: str | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.score_key is None:
            return super()._get_relevant_documents(query, run_manager=run_manager, **kwargs)
        store = cast(DiverseMethods, self.vectorstore)
        options = self.search_kwargs | kwargs
        if self.search_type == "similarity":
            pairs = store.similarity_search_with_score(query, **options)
        elif self.search_type == "mmr":
            pairs = store.max_marginal_relevance_search_with_score(query, **options)
        else:
            pairs = store.similarity_search_with_relevance_scores(query, **options)
        return _with_scores(pairs, self.score_key)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        if self.score_key is None:
            return await super()._aget_relevant_documents(query, run_manager=run_manager, **kwargs)
        store = cast(DiverseMethods, self.vectorstore)
        options = self.search_kwargs | kwargs
        if self.search_type == "similarity":
            pairs = await store.asimilarity_search_with_score(query, **options)
        elif self.search_type == "mmr":
            pairs = await store.amax_marginal_relevance_search_with_score(query, **options)
        else:
            pairs = await store.asimilarity_search_with_relevance_scores(query, **options)
        return _with_scores(pairs, self.score_key)


def _with_scores(pairs: list[tuple[Document, float]], key: str) -> list[Document]:
    for document, score in pairs:
        if key in document.metadata:
            raise InvalidInputError(
                f"document {document.id!r} already has the metadata key {key!r}, so its score "
                "cannot go there. Choose another score_key."
            )
        document.metadata[key] = score
    return [document for document, _ in pairs]
