"""Compute backends: the same operations on arrays, by numpy (reference) and Numba (default)."""

from __future__ import annotations

from m2m_rag.compute.registry import BACKENDS, get_backend

__all__ = ["BACKENDS", "get_backend"]
