"""LlamaIndex vector store on m2m_rag: `M2MVectorStore`, and `M2MEmbedding` for its embedders."""

from llama_index.vector_stores.m2m.base import M2MVectorStore
from llama_index.vector_stores.m2m.embeddings import M2MEmbedding

__all__ = ["M2MEmbedding", "M2MVectorStore"]
