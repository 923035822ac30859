"""Translation between stored records and LangChain documents."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.documents import Document

from m2m_rag import Hit, Record


def as_document(stored: Hit | Record) -> Document:
    """Return a document that its receiver may change freely.

    A record that was stored without a text has an empty `page_content`. The metadata is as it
    was stored: nothing is added to it.
    """
    return Document(id=stored.id, page_content=stored.text or "", metadata=stored.metadata)


def pairs_of(hits: Iterable[Hit]) -> list[tuple[Document, float]]:
    """Return each hit as a document and its score."""
    return [(as_document(hit), hit.score) for hit in hits]


def documents_of(pairs: Iterable[tuple[Document, float]]) -> list[Document]:
    """Drop the scores."""
    return [document for document, _ in pairs]
