"""Compaction: the live rows of a collection move to a new generation of vector files.

Rows are numbered anew, without the dead ones, in one transaction of the catalog: a reader has the
old generation or the new one, whole. The old generation's files go away only when the commit is on
disk and no reader is in a snapshot from before it: SQLite tells, for it cannot take such a
reader's pages out of the log (`settle`). A process that ends in between leaves files that the next
flush, compaction or repair sweeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import apsw
import numpy as np

from m2m_rag._types import FloatArray, RowArray
from m2m_rag.storage import leftovers
from m2m_rag.storage.plain import VECTORS_FOLDER, walk
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import DatabaseKind, opened
from m2m_rag.storage.store import CollectionStore
from m2m_rag.storage.transaction import Transaction
from m2m_rag.storage.vectors import Block, DiskVectors, Layout, MemoryVectors, VectorFile, Vectors

STEP_BYTES = 16 << 20
"""Vectors that are moved at a time."""
POLL_S = 0.002

Read: TypeAlias = Callable[[RowArray], FloatArray]


def rewrite(store: CollectionStore, transaction: Transaction) -> int:
    """Write the live rows as a new generation; return how many dead ones were left behind.

    The new files count, and are on disk, once the transaction is committed.
    Vectors of dead rows are not read, so that it does not matter when they are damaged.
    """
    state = transaction.state
    rows = transaction.live_rows()
    generation = state.generation + 1
    if state.dimension is None:
        return 0
    vectors: Vectors
    if store.folder is None:
        vectors = MemoryVectors(state.dimension)
    else:
        folder = store.folder / VECTORS_FOLDER
        syncs = store.durability != "off"
        vectors = DiskVectors(folder, state.dimension, state.collection, generation, syncs=syncs)
    transaction.touched.add(vectors)
    files, blocks = _moved(rows, state.dimension, vectors, lambda r: store.vectors(transaction, r))
    transaction.renumber(rows, generation, files, blocks)
    store.put(generation, vectors)
    return state.n_rows - len(rows)


def _moved(
    rows: RowArray, dimension: int, vectors: Vectors, read: Read
) -> tuple[list[VectorFile], list[Block]]:
    """Append the rows to empty vectors, some at a time; return what is to be committed."""
    files: dict[int, VectorFile] = {}
    blocks: dict[int, dict[int, Block]] = {}

    def checksums(file: int, first: int, last: int) -> dict[int, Block]:
        return {n: blocks[file][n] for n in range(first, last + 1) if n in blocks[file]}

    step = max(1, STEP_BYTES // (4 * dimension))
    for first in range(0, len(rows), step):
        layout = Layout([files[number] for number in sorted(files)], checksums)
        batch = np.ascontiguousarray(read(rows[first : first + step]))
        grown, written = vectors.append(layout, batch)
        files.update({file.number: file for file in grown})
        for block in written:
            blocks.setdefault(block.file, {})[block.block] = block
    return list(files.values()), [block for file in blocks.values() for block in file.values()]


def settle(folder: Path, patience_s: float, *, with_old_formats: bool = False) -> bool:
    """Sweep what an older generation left; return False when a reader may still need it.

    Parameters
    ----------
    folder
        The collection's folder; the caller may write to the database.
    patience_s
        How long to wait for readers of older snapshots.
    with_old_formats
        Also remove the catalogs of older formats that migrations have kept.
    """
    path = folder / CATALOG_FILE
    while True:
        with opened(path, KIND) as connection:
            generation = Snapshot(connection).state.generation
        if not checkpoint(path, KIND, apsw.SQLITE_CHECKPOINT_FULL, patience_s):
            return False
        with opened(path, KIND) as connection:
            connection.execute("BEGIN IMMEDIATE").fetchall()  # nobody appends to a new file now
            snapshot = Snapshot(connection)
            if snapshot.state.generation == generation:  # a later one may have readers that began
                names = {file.name for file in snapshot.layout().files}
                uses = leftovers.in_collection(folder, generation, names)
                if with_old_formats:
                    old = {name for name in uses if leftovers.OLD_CATALOG.fullmatch(name)}
                    uses |= dict.fromkeys(old, "leftover")
                leftovers.sweep(folder, uses)
                connection.execute("ROLLBACK").fetchall()
                return True


def shrink(folder: Path) -> None:
    """Write the catalog anew without unused pages, in which traces of what is gone might be."""
    path = folder / CATALOG_FILE
    with opened(path, KIND) as connection:
        connection.execute("VACUUM").fetchall()


def checkpoint(path: Path, kind: DatabaseKind, mode: int, patience_s: float) -> bool:
    """Move a database's log into its file, on disk; return False when readers are in the way.

    Another checkpoint is in the way, too, and SQLite does not wait for it by itself.

    Parameters
    ----------
    path, kind
        Which database file.
    mode
        ``SQLITE_CHECKPOINT_FULL``: readers of older snapshots are in the way.
        ``SQLITE_CHECKPOINT_TRUNCATE``: all that read the log are; afterwards it is empty.
    patience_s
        How long to wait for them.
    """
    deadline = time.monotonic() + patience_s
    with opened(path, kind) as connection:
        while True:
            left_s = max(deadline - time.monotonic(), 0.0)
            connection.set_busy_timeout(int(1000 * left_s))
            try:
                connection.wal_checkpoint(mode=mode)
            except apsw.BusyError:
                if left_s == 0.0:
                    return False
                time.sleep(POLL_S)
            else:
                return True


def folder_bytes(folder: Path) -> int:
    """Return the size of all files of a folder."""
    return sum(found.st_size for _, found in walk(folder))
