"""LangChain's own suites: the vector store in memory and on disk, and the retriever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.vectorstores import VectorStore
from langchain_m2m import M2MRetriever, M2MVectorStore
from langchain_tests.integration_tests import (
    RetrieversIntegrationTests,
    VectorStoreIntegrationTests,
)


class TestInMemory(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:
        with M2MVectorStore(self.get_embeddings()) as store:
            yield store


class TestOnDisk(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:
        with M2MVectorStore(self.get_embeddings(), path=tmp_path / "db") as store:
            yield store


class _KRetriever(M2MRetriever):
    """The suite passes the number of results as one top-level argument."""

    def __init__(self, k: int = 4, **fields: Any) -> None:
        super().__init__(search_kwargs={"k": k}, **fields)


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self) -> Iterator[None]:
        embedding = VectorStoreIntegrationTests.get_embeddings()
        texts = ["a red fox", "a grey wolf", "a brown bear", "a white hare", "a black crow"]
        with M2MVectorStore.from_texts(texts, embedding) as store:
            self.store = store
            yield

    @property
    def retriever_constructor(self) -> type[M2MRetriever]:
        return _KRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"vectorstore": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "a fox"
