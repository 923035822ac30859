"""A collection's stored parts together: catalog, vectors and liveness, opened as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import Durability, FloatArray, RowArray, Segment
from m2m_rag.storage.catalog import Catalog
from m2m_rag.storage.liveness import Liveness
from m2m_rag.storage.plain import VECTORS_FOLDER
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import SqlFunctions
from m2m_rag.storage.transaction import NewRecord, Transaction
from m2m_rag.storage.vectors import DiskVectors, Layout, MemoryVectors, Vectors, check_files


class CollectionStore:
    """What one collection keeps, in `folder` or in memory.

    The catalog and the vectors are only reached through here, so that a commit always covers
    both: `append` writes vectors and their commit record in the caller's transaction.
    """

    def __init__(
        self, folder: Path | None, functions: SqlFunctions, durability: Durability = "full"
    ) -> None:
        self.folder = folder
        self.durability: Durability = durability
        self.catalog = Catalog(folder, functions, durability)
        self.liveness = Liveness()
        self._vectors: dict[tuple[int, int], Vectors] = {}
        self._lock = ForkSafeLock()

    def append(
        self, transaction: Transaction, records: list[NewRecord], vectors: FloatArray
    ) -> None:
        """Write new records with their ``(n, d)`` vectors; n > 0."""
        dimension = vectors.shape[1]
        store = self._open_vectors(transaction, dimension)
        transaction.touched.add(store)
        files, blocks = store.append(self._layout(transaction), vectors)
        transaction.record_vectors(files, blocks)
        transaction.insert(records, dimension)

    def segments(self, snapshot: Snapshot) -> list[Segment]:
        """Return all rows of the snapshot, dead ones included, as read-only views."""
        dimension = snapshot.state.dimension
        if dimension is None:
            return []
        return self._open_vectors(snapshot, dimension).segments(self._layout(snapshot))

    def vectors(self, snapshot: Snapshot, rows: RowArray) -> FloatArray:
        """Return ``(len(rows), d)`` copies of the vectors of those rows."""
        dimension = snapshot.state.dimension
        if dimension is None or len(rows) == 0:
            return np.empty((len(rows), dimension or 0), dtype=np.float32)
        return self._open_vectors(snapshot, dimension).rows(self._layout(snapshot), rows)

    def put(self, generation: int, vectors: Vectors) -> None:
        """Put the vectors of a new generation in place, in the transaction that commits it."""
        with self._lock:
            self._keep(generation, vectors)

    def close(self) -> None:
        """Close files and connections."""
        try:
            self.catalog.close()
        finally:
            for vectors in self._vectors.values():
                vectors.close()

    def _layout(self, snapshot: Snapshot) -> Layout:
        layout, state = snapshot.layout(), snapshot.state
        if self.folder is not None:
            check_files(layout.files, state.generation, state.n_rows, self.folder)
        return layout

    def _open_vectors(self, snapshot: Snapshot, dimension: int) -> Vectors:
        """Open the vectors; a first add that failed may have opened them with another dimension."""
        generation = snapshot.state.generation
        with self._lock:
            vectors = self._vectors.get((generation, dimension))
            if vectors is None:
                if self.folder is None:
                    vectors = MemoryVectors(dimension)
                else:
                    folder = self.folder / VECTORS_FOLDER
                    collection = snapshot.state.collection
                    vectors = DiskVectors(
                        folder, dimension, collection, generation, syncs=self.durability != "off"
                    )
                self._keep(generation, vectors)
            return vectors

    def _keep(self, generation: int, vectors: Vectors) -> None:
        """Keep this generation and the one before: older snapshots may still be read."""
        kept = {key: value for key, value in self._vectors.items() if key[0] >= generation - 1}
        self._vectors = {**kept, (generation, vectors.dimension): vectors}
