"""What the handles of one collection share."""

from __future__ import annotations

from dataclasses import dataclass

from m2m_rag._columns import Columns
from m2m_rag._forking import ForkSafeLock
from m2m_rag._indexing import Indexer
from m2m_rag._iterating import Iterations
from m2m_rag._types import Metric
from m2m_rag.compute import get_backend
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.config import compute_backend
from m2m_rag.storage.store import CollectionStore


@dataclass(frozen=True, slots=True)
class Parts:
    """An open collection: what is stored, its columns and index, what computes, who may write."""

    store: CollectionStore
    columns: Columns
    indexer: Indexer
    backend: ComputeBackend
    write_lock: ForkSafeLock
    iterations: Iterations

    def close(self) -> None:
        """End what is under way, then close what is stored; nothing of it stays open or mapped."""
        self.indexer.close()
        self.iterations.end()
        self.store.close()
        self.indexer.index.put(None)


def make_parts(store: CollectionStore, metric: Metric, may_write: bool, generation: int) -> Parts:
    """Return the parts around an open store."""
    backend = get_backend(compute_backend())
    indexer = Indexer(store, backend, metric, may_write, generation)
    return Parts(store, Columns(), indexer, backend, ForkSafeLock(), Iterations())
