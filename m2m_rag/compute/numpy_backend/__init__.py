"""The numpy backend: the reference, which computes as things are defined."""

from __future__ import annotations

from m2m_rag.compute.numpy_backend.backend import NumpyBackend

__all__ = ["NumpyBackend"]
