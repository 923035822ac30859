"""Clustering: K-means, and two levels of it, by the compute backends."""

from __future__ import annotations

from m2m_rag.clustering.hierarchy import Hierarchy, build_hierarchy
from m2m_rag.clustering.kmeans import KMeans

__all__ = ["Hierarchy", "KMeans", "build_hierarchy"]
