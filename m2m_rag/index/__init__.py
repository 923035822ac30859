"""Indexes: which rows answer a query. `FlatIndex` compares with every row and is exact."""

from __future__ import annotations

from m2m_rag.index.flat import FlatIndex
from m2m_rag.index.mmr import maximal_marginal_relevance

__all__ = ["FlatIndex", "maximal_marginal_relevance"]
