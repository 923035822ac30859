"""What the handles of one collection share: its stored parts, its columns and its index."""

from __future__ import annotations

from dataclasses import dataclass

from m2m_rag._columns import Columns
from m2m_rag._forking import ForkSafeLock
from m2m_rag._indexing import Indexer
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.storage.store import CollectionStore


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handles of one collection share."""

    store: CollectionStore
    columns: Columns
    indexer: Indexer
    backend: ComputeBackend
    write_lock: ForkSafeLock

    def close(self) -> None:
        """Stop the index's thread, then close what is stored."""
        self.indexer.close()
        self.store.close()
