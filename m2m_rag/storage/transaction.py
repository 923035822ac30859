"""Writing the catalog: one transaction is one commit, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.vectors.base import Block, VectorFile


class NewRecord(NamedTuple):
    """A record to insert; its row is the next free one."""

    id: str
    text: str | None
    text_hash: int | None
    metadata: str
    alpha: float
    kappa: float | None


class Transaction(Snapshot):
    """Reads and writes within one transaction; leaving `Catalog.transaction` commits it."""

    @property
    def commit_no(self) -> int:
        """The number of the commit that is being written."""
        return self.state.commit_no + 1

    def insert(self, records: Sequence[NewRecord], dimension: int) -> None:
        """Insert records at the next free rows; their vectors are appended by the caller."""
        first = self.state.n_rows
        self._connection.executemany(
            "INSERT INTO records(row, id, text, text_hash, metadata, alpha, kappa)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((first + i, *record) for i, record in enumerate(records)),
        )
        self.state = self.state._replace(
            n_rows=first + len(records),
            n_live=self.state.n_live + len(records),
            dimension=dimension,
        )

    def delete(self, rows: Iterable[int]) -> int:
        """Delete the records of those rows, which must be live; return how many."""
        bound = [(int(row), self.commit_no) for row in rows]
        self._connection.executemany(
            "DELETE FROM records WHERE row = ?", ((row,) for row, _ in bound)
        )
        self._connection.executemany("INSERT INTO tombstones(row, commit_no) VALUES (?, ?)", bound)
        self.state = self.state._replace(n_live=self.state.n_live - len(bound))
        return len(bound)

    def set_metadata(self, changes: Iterable[tuple[str, int]]) -> None:
        """Replace the metadata (JSON text) of rows."""
        self._connection.executemany("UPDATE records SET metadata = ? WHERE row = ?", changes)

    def set_embedder(self, fingerprint: str) -> None:
        """Note which embedder fills the collection."""
        self.state = self.state._replace(embedder=fingerprint)

    def set_dropped(self) -> None:
        """Mark the collection as removed: every handle refuses to use it from now on."""
        self.state = self.state._replace(dropped=1)

    def record_vectors(self, files: Iterable[VectorFile], blocks: Iterable[Block]) -> None:
        """Note what was appended to the vector files."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO vector_files(number, name, first_row, rows)"
            " VALUES (?, ?, ?, ?)",
            files,
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO vector_blocks(file, block, rows, checksum) VALUES (?, ?, ?, ?)",
            blocks,
        )

    def write_state(self) -> None:
        """Write the counters: the last statement before the commit."""
        state = self.state
        self._connection.execute(
            "UPDATE state SET dimension = ?, embedder = ?, commit_no = ?, n_rows = ?,"
            " n_live = ?, dropped = ?",
            (
                state.dimension,
                state.embedder,
                self.commit_no,
                state.n_rows,
                state.n_live,
                state.dropped,
            ),
        ).fetchall()
