"""m2m_rag: an embedded vector database for retrieval-augmented generation.

The public names load on first use, so ``import m2m_rag`` costs no more than numpy.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from m2m_rag._lazy import lazy_names

if TYPE_CHECKING:
    from m2m_rag._types import Facet, Hit, HitGroup, Record, WriteReport
    from m2m_rag.aio import AsyncCollection, AsyncDatabase
    from m2m_rag.collection import Collection
    from m2m_rag.database import Database
    from m2m_rag.errors import M2MError
    from m2m_rag.index.fusion import Fusion

__version__ = "0.1.0"
__all__ = [
    "AsyncCollection",
    "AsyncDatabase",
    "Collection",
    "Database",
    "Facet",
    "Fusion",
    "Hit",
    "HitGroup",
    "M2MError",
    "Record",
    "WriteReport",
    "__version__",
]

_HOME = {
    "AsyncCollection": "m2m_rag.aio",
    "AsyncDatabase": "m2m_rag.aio",
    "Collection": "m2m_rag.collection",
    "Database": "m2m_rag.database",
    "Facet": "m2m_rag._types",
    "Fusion": "m2m_rag.index.fusion",
    "Hit": "m2m_rag._types",
    "HitGroup": "m2m_rag._types",
    "M2MError": "m2m_rag.errors",
    "Record": "m2m_rag._types",
    "WriteReport": "m2m_rag._types",
}

logging.getLogger(__name__).addHandler(logging.NullHandler())


__getattr__, __dir__ = lazy_names(__name__, _HOME)
