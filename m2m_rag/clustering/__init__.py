"""Clustering: K-means by the compute backends."""

from __future__ import annotations

from m2m_rag.clustering.kmeans import KMeans

__all__ = ["KMeans"]
