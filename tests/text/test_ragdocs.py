"""Real Markdown documents through MiniLM: the right page comes first."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from m2m_rag import Database
from m2m_rag.text import as_embedder, best_sentences, ingest

_ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "ragdocs" / "ragdocs.tar.gz"
_QUESTIONS = {
    "What is ownership in Rust?": "ch04-",
    "How are threads given messages through channels?": "ch16-02",
    "How do I define an enum?": "ch06-01",
}


@pytest.mark.skipif(not _ARCHIVE.exists(), reason="needs ../shared/data/ragdocs/ragdocs.tar.gz")
def test_questions_find_their_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    embedder = as_embedder("minilm")
    chapters = ["*/src/ch04-0[01]*", "*/src/ch16-02*", "*/src/ch06-0[01]*"]
    with Database.in_memory() as database:
        collection = database.create("book")
        report = ingest(tmp_path, collection, embedder, include=chapters)
        assert report.failed == []
        for question, page in _QUESTIONS.items():
            hits = collection.search(embedder.embed_query(question), k=3)
            assert page in hits[0].metadata["source"]
        hits = collection.search(embedder.embed_query("What is ownership in Rust?"), k=5)
        (answer,) = best_sentences("What is ownership in Rust?", hits, embedder)
        assert "ownership" in answer.sentence.lower()
