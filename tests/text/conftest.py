"""What the tests of the text pipeline share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from m2m_rag import Collection, Database
from m2m_rag.text import HashingEmbedder


class CountingEmbedder:
    """A real embedder that notes every text it is asked to embed."""

    def __init__(self) -> None:
        self._inner = HashingEmbedder(64)
        self.fingerprint = self._inner.fingerprint
        self.dimension = self._inner.dimension
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        return self._inner.embed_query(text)


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def collection() -> Iterator[Collection]:
    with Database.in_memory() as database:
        yield database.create("texts")
