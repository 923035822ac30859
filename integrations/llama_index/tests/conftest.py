"""Fixtures: a store in memory and on disk, and a small embedding model that needs no download."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore
from numpy.typing import NDArray


class WordEmbedder:
    """Counts of hashed words, normalised: texts that share words are near each other."""

    fingerprint = "test-words/64"
    dimension = 64

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([self.embed_query(text) for text in texts])

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector = np.zeros(self.dimension, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            vector[blake2b(word.encode()).digest()[0] % self.dimension] += 1.0
        return vector / max(float(np.linalg.norm(vector)), 1e-9)


@pytest.fixture
def embed_model() -> M2MEmbedding:
    return M2MEmbedding(WordEmbedder())


@pytest.fixture(params=["memory", "disk"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[M2MVectorStore]:
    with M2MVectorStore(None if request.param == "memory" else tmp_path / "db") as opened:
        yield opened
