"""A collection's fingerprint leads back to its embedder, and to no other model."""

from __future__ import annotations

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import HashingEmbedder, SentenceTransformerEmbedder
from m2m_rag.text.embedders.recorded import recorded_embedder


@pytest.mark.parametrize("embedder", [HashingEmbedder(64), SentenceTransformerEmbedder()])
def test_known_fingerprints_come_back(embedder):
    found = recorded_embedder(embedder.fingerprint)
    assert type(found) is type(embedder)
    assert found.fingerprint == embedder.fingerprint


@pytest.mark.parametrize(
    "fingerprint",
    ["evil/model", "sentence-transformers/other", "x-d64", "-d0", "-d99999999999999999999", ""],
)
def test_others_must_be_named_by_the_caller(fingerprint):
    with pytest.raises(InvalidInputError, match="--embedder"):
        recorded_embedder(fingerprint)
