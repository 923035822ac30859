"""Vector stores: where the float32 rows of a collection live, on disk or in memory."""

from __future__ import annotations

from m2m_rag.storage.vectors.base import Block, Layout, VectorFile, Vectors, check_files
from m2m_rag.storage.vectors.disk import DiskVectors
from m2m_rag.storage.vectors.memory import MemoryVectors

__all__ = [
    "Block",
    "DiskVectors",
    "Layout",
    "MemoryVectors",
    "VectorFile",
    "Vectors",
    "check_files",
]
