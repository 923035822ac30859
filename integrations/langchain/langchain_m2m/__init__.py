"""LangChain vector store and retriever over m2m_rag, an embedded vector database."""

from typing import TYPE_CHECKING, Any

from langchain_m2m.retriever import M2MRetriever
from langchain_m2m.vectorstores import M2MVectorStore

if TYPE_CHECKING:
    from langchain_m2m.translator import M2MTranslator

__all__ = ["M2MRetriever", "M2MTranslator", "M2MVectorStore"]


def __getattr__(name: str) -> Any:
    """Load the translator on first use: only a ``SelfQueryRetriever`` needs it."""
    if name == "M2MTranslator":
        from langchain_m2m.translator import M2MTranslator

        return M2MTranslator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
