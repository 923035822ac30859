"""The demo's two ways to ask: a LangChain chain and a LlamaIndex query engine on one collection."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from m2m_rag.text import Embedder, best_sentences


class Answer(NamedTuple):
    """An extractive answer and the passages that it comes from: score, text, metadata."""

    sentence: str
    passages: list[tuple[float, str, dict[str, Any]]]


def ask_langchain(
    db: Path, collection: str, embedder: Embedder, questions: Sequence[str], k: int
) -> Iterator[Answer]:
    """Answer by a chain: retriever | extractive step."""
    from langchain_core.runnables import RunnableLambda, RunnableParallel, RunnablePassthrough
    from langchain_m2m import M2MVectorStore

    def extract(found: dict[str, Any]) -> Answer:
        texts = [document.page_content for document in found["documents"]]
        passages = []
        for document in found["documents"]:
            metadata = dict(document.metadata)
            passages.append((metadata.pop("score"), document.page_content, metadata))
        return Answer(best_sentences(found["question"], texts, embedder)[0].sentence, passages)

    with M2MVectorStore(embedder, path=db, collection_name=collection) as store:
        retriever = store.as_retriever(search_kwargs={"k": k}, score_key="score")
        found = RunnableParallel(question=RunnablePassthrough(), documents=retriever)
        chain = found | RunnableLambda(extract)
        for question in questions:
            yield chain.invoke(question)


def ask_llama_index(
    db: Path, collection: str, embedder: Embedder, questions: Sequence[str], k: int
) -> Iterator[Answer]:
    """Answer by a query engine: retriever and extractive synthesizer."""
    from llama_index.core import VectorStoreIndex
    from llama_index.core.llms.mock import MockLLM
    from llama_index.core.response_synthesizers import BaseSynthesizer
    from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore

    logging.getLogger("llama_index").setLevel(logging.WARNING)

    class ExtractiveSynthesizer(BaseSynthesizer):
        """Answers with the sentence nearest to the question; it never calls its language model."""

        def get_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
            return best_sentences(query_str, text_chunks, embedder)[0].sentence

        async def aget_response(self, query_str: str, text_chunks: Sequence[str], **_: Any) -> str:
            return self.get_response(query_str, text_chunks)

        def _get_prompts(self) -> dict[str, Any]:
            return {}

        def _update_prompts(self, prompts: Any) -> None:
            """There are none."""

    with M2MVectorStore(path=db, collection_name=collection) as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=M2MEmbedding(embedder))
        engine = index.as_query_engine(
            similarity_top_k=k,
            llm=MockLLM(),
            response_synthesizer=ExtractiveSynthesizer(llm=MockLLM()),
        )
        for question in questions:
            response = engine.query(question)
            yield Answer(
                str(response),
                [
                    (float(node.score or 0.0), node.node.get_content(), node.node.metadata)
                    for node in response.source_nodes
                ],
            )
