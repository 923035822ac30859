"""What the handles of one collection share."""

from __future__ import annotations

from m2m_rag._columns import Columns
from m2m_rag._forking import ForkSafeLock
from m2m_rag._indexing import INDEX_FROM, Indexer
from m2m_rag._iterating import Iterations
from m2m_rag._types import Metric
from m2m_rag.compute import get_backend
from m2m_rag.config import compute_backend
from m2m_rag.storage.fork_gate import GATE
from m2m_rag.storage.store import CollectionStore


class Parts:
    """An open collection: what is stored, its columns and its index.

    The index, and with it the compute backend, is made when it is first needed: importing Numba
    takes 0.35 s, which opening, writing and reading do without. A fork waits for the end of the
    import: the child would wait for ever for a module that a thread of its parent was importing.

    Parameters
    ----------
    store
        What is stored.
    metric
        The collection's metric.
    may_write
        Whether the index may be saved.
    generation
        Of the collection's rows.
    """

    def __init__(
        self, store: CollectionStore, metric: Metric, may_write: bool, generation: int
    ) -> None:
        self.store = store
        self.columns = Columns()
        store.catalog.writers.when_undone = self.columns.clear  # they may have read what was undone
        self.iterations = Iterations()
        self._indexer: Indexer | None = None
        self._is_closed = False
        self._settings = (metric, may_write, generation)
        self._lock = ForkSafeLock()

    @property
    def indexer(self) -> Indexer:
        """The index and the thread that tends it."""
        if self._indexer is None:
            with GATE.inside(), self._lock:
                if self._indexer is None:
                    backend = get_backend(compute_backend())
                    made = Indexer(self.store, backend, *self._settings)
                    if self._is_closed:
                        made.close()
                    self._indexer = made
        return self._indexer

    def consider_index(self, n_live: int, n_rows: int) -> None:
        """Let the index follow a commit, where there is one or there are records enough for it."""
        if self._indexer is not None or n_live >= INDEX_FROM:
            self.indexer.consider(n_live, n_rows)

    def close(self) -> None:
        """End what is under way, then close what is stored; nothing of it stays open or mapped."""
        with self._lock:
            self._is_closed = True
            indexer = self._indexer
        if indexer is not None:
            indexer.close()
        self.iterations.end()
        try:
            self.store.close()
        finally:
            if indexer is not None:
                indexer.index.put(None)
