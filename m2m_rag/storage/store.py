"""A collection's stored parts together: catalog, vectors and liveness, opened as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import FloatArray, RowArray, Segment
from m2m_rag.storage.catalog import Catalog
from m2m_rag.storage.liveness import Liveness
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import SqlFunctions
from m2m_rag.storage.transaction import NewRecord, Transaction
from m2m_rag.storage.vectors import DiskVectors, MemoryVectors, Vectors

VECTORS_FOLDER = "vectors"


class CollectionStore:
    """What one collection keeps, in `folder` or in memory.

    The catalog and the vectors are only reached through here, so that a commit always covers
    both: `append` writes vectors and their commit record in the caller's transaction.
    """

    def __init__(self, folder: Path | None, functions: SqlFunctions) -> None:
        self.folder = folder
        self.catalog = Catalog(folder, functions)
        self.liveness = Liveness()
        self._vectors: Vectors | None = None
        self._lock = ForkSafeLock()

    def append(
        self, transaction: Transaction, records: list[NewRecord], vectors: FloatArray
    ) -> None:
        """Write new records with their ``(n, d)`` vectors; n > 0."""
        dimension = vectors.shape[1]
        store = self._open_vectors(transaction, dimension)
        files, blocks = store.append(transaction.layout(), vectors)
        transaction.record_vectors(files, blocks)
        transaction.insert(records, dimension)

    def segments(self, snapshot: Snapshot) -> list[Segment]:
        """Return all rows of the snapshot, dead ones included, as read-only views."""
        dimension = snapshot.state.dimension
        if dimension is None:
            return []
        return self._open_vectors(snapshot, dimension).segments(snapshot.layout())

    def vectors(self, snapshot: Snapshot, rows: RowArray) -> FloatArray:
        """Return ``(len(rows), d)`` copies of the vectors of those rows."""
        dimension = snapshot.state.dimension
        if dimension is None or len(rows) == 0:
            return np.empty((len(rows), dimension or 0), dtype=np.float32)
        return self._open_vectors(snapshot, dimension).rows(snapshot.layout(), rows)

    def close(self) -> None:
        """Close files and connections."""
        self.catalog.close()
        if self._vectors is not None:
            self._vectors.close()

    def _open_vectors(self, snapshot: Snapshot, dimension: int) -> Vectors:
        """Open the vectors; a first add that failed may have opened them with another dimension."""
        with self._lock:
            if self._vectors is None or self._vectors.dimension != dimension:
                state = snapshot.state
                if self.folder is None:
                    self._vectors = MemoryVectors(dimension)
                else:
                    self._vectors = DiskVectors(
                        self.folder / VECTORS_FOLDER,
                        dimension,
                        state.collection,
                        state.generation,
                    )
            return self._vectors
