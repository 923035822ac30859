"""Indexes: which rows answer a query. `FlatIndex` is exact, `HRM2Index` reaches a recall target."""

from __future__ import annotations

from m2m_rag.index.flat import FlatIndex
from m2m_rag.index.hrm2 import HRM2Index
from m2m_rag.index.mmr import maximal_marginal_relevance

__all__ = ["FlatIndex", "HRM2Index", "maximal_marginal_relevance"]
