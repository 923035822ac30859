"""HRM2: coarse clusters, fine clusters, 1-bit codes, exact vectors; three levels of detail."""

from __future__ import annotations

from m2m_rag.index.hrm2.index import HRM2Index

__all__ = ["HRM2Index"]
