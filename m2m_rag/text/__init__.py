"""The text pipeline: documents are loaded, split, embedded, given ids and stored.

The names load on first use; none of them imports an optional package before it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from m2m_rag._lazy import lazy_names

if TYPE_CHECKING:
    from m2m_rag.text.embedders import EMBEDDERS, Embedder, as_embedder
    from m2m_rag.text.embedders.foreign import ForeignEmbedder
    from m2m_rag.text.embedders.hashing import HashingEmbedder
    from m2m_rag.text.embedders.sentence_transformers import SentenceTransformerEmbedder
    from m2m_rag.text.extract import ExtractiveSentence, best_sentences
    from m2m_rag.text.ingesting import ingest, ingest_texts
    from m2m_rag.text.loaders import LOADERS, Section, load
    from m2m_rag.text.report import FailedSource, IngestReport, Progress
    from m2m_rag.text.sources import TextDocument
    from m2m_rag.text.splitting import Passage, Splitter

_HOME = {
    "EMBEDDERS": "m2m_rag.text.embedders",
    "Embedder": "m2m_rag.text.embedders",
    "ExtractiveSentence": "m2m_rag.text.extract",
    "FailedSource": "m2m_rag.text.report",
    "ForeignEmbedder": "m2m_rag.text.embedders.foreign",
    "HashingEmbedder": "m2m_rag.text.embedders.hashing",
    "IngestReport": "m2m_rag.text.report",
    "LOADERS": "m2m_rag.text.loaders",
    "Passage": "m2m_rag.text.splitting",
    "Progress": "m2m_rag.text.report",
    "Section": "m2m_rag.text.loaders",
    "SentenceTransformerEmbedder": "m2m_rag.text.embedders.sentence_transformers",
    "Splitter": "m2m_rag.text.splitting",
    "TextDocument": "m2m_rag.text.sources",
    "as_embedder": "m2m_rag.text.embedders",
    "best_sentences": "m2m_rag.text.extract",
    "ingest": "m2m_rag.text.ingesting",
    "ingest_texts": "m2m_rag.text.ingesting",
    "load": "m2m_rag.text.loaders",
}

__all__ = [
    "EMBEDDERS",
    "LOADERS",
    "Embedder",
    "ExtractiveSentence",
    "FailedSource",
    "ForeignEmbedder",
    "HashingEmbedder",
    "IngestReport",
    "Passage",
    "Progress",
    "Section",
    "SentenceTransformerEmbedder",
    "Splitter",
    "TextDocument",
    "as_embedder",
    "best_sentences",
    "ingest",
    "ingest_texts",
    "load",
]

__getattr__, __dir__ = lazy_names(__name__, _HOME)
