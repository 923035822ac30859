"""Fixtures: a real, small, deterministic embedding, and stores in memory and on disk."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_m2m import M2MVectorStore


class WordEmbeddings(Embeddings):
    """Counts words in 64 hashed buckets; every call is counted, sync and async apart."""

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self.embedded: list[str] = []
        self.awaited: list[str] = []
        self.questions = 0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded.extend(texts)
        return [_count_words(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.questions += 1
        return _count_words(text)

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.awaited.extend(texts)
        return [_count_words(text) for text in texts]

    async def aembed_query(self, text: str) -> list[float]:
        self.awaited.append(text)
        return _count_words(text)


def _count_words(text: str) -> list[float]:
    vector = [0.0] * 64
    for word in text.lower().split():
        vector[zlib.crc32(word.encode()) % 64] += 1.0
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


@pytest.fixture
def embedding() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def embedding_class() -> type[WordEmbeddings]:
    return WordEmbeddings


@pytest.fixture
def make() -> Iterator[Callable[..., M2MVectorStore]]:
    """Make stores that are closed after the test."""
    stores: list[M2MVectorStore] = []

    def build(*args: Any, **options: Any) -> M2MVectorStore:
        stores.append(M2MVectorStore(*args, **options))
        return stores[-1]

    yield build
    for store in stores:
        store.close()


@pytest.fixture(params=["memory", "disk"])
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    embedding: WordEmbeddings,
    make: Callable[..., M2MVectorStore],
) -> M2MVectorStore:
    return make(embedding, path=tmp_path / "db" if request.param == "disk" else None)
