"""Quantization: a fast random rotation, 1-bit codes with error bounds (RaBitQ), 8-bit centroids."""

from __future__ import annotations

from m2m_rag.quantization.levels import to_int8
from m2m_rag.quantization.rabitq import code
from m2m_rag.quantization.rotation import Rotation

__all__ = ["Rotation", "code", "to_int8"]
