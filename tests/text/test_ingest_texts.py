from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from m2m_rag import Collection
from m2m_rag.text import Splitter, TextDocument, ingest_texts

from .conftest import CountingEmbedder


def test_documents_in_memory_are_kept_like_files(
    collection: Collection, embedder: CountingEmbedder
) -> None:
    documents = [
        TextDocument("one", "Text one.", title="First", metadata={"topic": "x", "source": "own"}),
        TextDocument("two", "# Two\n\nText.", kind="markdown"),
    ]
    report = ingest_texts(documents, collection, embedder, root="lib")
    assert report.added == ["one", "two"]
    (record,) = collection.get(where={"source": "one"})
    assert record.text == "Text one."
    assert record.metadata["root"] == "lib"
    assert record.metadata["title"] == "First"
    assert record.metadata["topic"] == "x"
    assert record.metadata["document_source"] == "own"
    assert collection.get(where={"source": "two"})[0].metadata["title"] == "two"
    assert ingest_texts(documents, collection, embedder, root="lib").skipped == ["one", "two"]


def test_dates_of_documents_are_kept_and_noticed(
    collection: Collection, embedder: CountingEmbedder
) -> None:
    for day in (date(2024, 5, 6), date(2024, 5, 7)):
        documents = [TextDocument("one", "Text one.", metadata={"day": day})]
        ingest_texts(documents, collection, embedder)
        assert collection.get()[0].metadata["day"] == day
        assert ingest_texts(documents, collection, embedder).skipped == ["one"]
    assert collection.count({"day": {"$gt": date(2024, 5, 6)}}) == 1


def test_changes_of_text_title_metadata_or_kind_update(
    collection: Collection, embedder: CountingEmbedder
) -> None:
    first = TextDocument("a", "Text.")
    ingest_texts([first], collection, embedder)
    for changed in (
        TextDocument("a", "Text.", title="T"),
        TextDocument("a", "Text.", metadata={"x": 1}),
        TextDocument("a", "Text.", kind="code"),
        TextDocument("a", "New text."),
    ):
        assert ingest_texts([changed], collection, embedder).updated == ["a"]
    assert len(embedder.texts) == 2
    assert collection.count() == 1


def test_generators_are_taken_one_by_one_and_missing_ones_deleted_on_request(
    collection: Collection, embedder: CountingEmbedder
) -> None:
    def documents(n: int) -> Iterator[TextDocument]:
        for number in range(n):
            yield TextDocument(f"doc{number}", f"Text {number}.")

    assert len(ingest_texts(documents(3), collection, embedder).added) == 3
    assert ingest_texts(documents(2), collection, embedder).deleted == []
    report = ingest_texts(documents(2), collection, embedder, delete_missing=True)
    assert (report.deleted, len(report.skipped)) == (["doc2"], 2)
    assert collection.count() == 2


def test_a_name_given_twice_and_bad_text_fail_alone(
    collection: Collection, embedder: CountingEmbedder
) -> None:
    documents = [
        TextDocument("a", "First."),
        TextDocument("a", "Second."),
        TextDocument("b", "lone \ud800 surrogate"),
        TextDocument("c", "Third."),
    ]
    report = ingest_texts(documents, collection, embedder)
    assert report.added == ["a", "c"]
    assert [failure.source for failure in report.failed] == ["a", "b"]
    assert "given already" in report.failed[0].reason
    assert sorted(str(record.text) for record in collection) == ["First.", "Third."]


def test_splitter_settings_are_used(collection: Collection, embedder: CountingEmbedder) -> None:
    text = "One sentence is here. Another sentence is there. A third one closes it."
    ingest_texts([TextDocument("a", text)], collection, embedder, splitter=Splitter(32))
    assert collection.count() == 3
