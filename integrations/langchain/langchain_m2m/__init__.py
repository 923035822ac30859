"""LangChain vector store and retriever over m2m_rag, an embedded vector database."""

from langchain_m2m.retriever import M2MRetriever
from langchain_m2m.vectorstores import M2MVectorStore

__all__ = ["M2MRetriever", "M2MVectorStore"]
