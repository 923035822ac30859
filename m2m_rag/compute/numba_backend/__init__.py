"""The Numba backend: float32 scans with an error bound, then canonical scores of what remains."""

from __future__ import annotations

from m2m_rag.compute.numba_backend.backend import NumbaBackend

__all__ = ["NumbaBackend"]
