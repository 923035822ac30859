"""Quantization: a fast random rotation and 1-bit codes with error bounds (RaBitQ)."""

from __future__ import annotations

from m2m_rag.quantization.rabitq import Codes, QueryPlanes, encode, estimate, quantize_query
from m2m_rag.quantization.rotation import Rotation

__all__ = ["Codes", "QueryPlanes", "Rotation", "encode", "estimate", "quantize_query"]
