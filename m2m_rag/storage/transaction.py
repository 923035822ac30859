"""Writing the catalog: one transaction is one commit, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import apsw

from m2m_rag._types import RowArray
from m2m_rag.storage import derived
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.vectors.base import Block, VectorFile, Vectors


class NewRecord(NamedTuple):
    """A record to insert; its row is the next free one."""

    id: str
    text: str | None
    text_hash: int | None
    metadata: str
    alpha: float
    kappa: float | None
    expires_us: int | None


class Transaction(Snapshot):
    """Reads and writes within one transaction; leaving `Catalog.transaction` commits it.

    Parameters
    ----------
    connection
        Its transaction is open.
    touched
        Takes the vectors that are appended to: they are synced before the commit.
    """

    def __init__(self, connection: apsw.Connection, touched: set[Vectors]) -> None:
        super().__init__(connection)
        self.touched = touched

    @property
    def commit_no(self) -> int:
        """The number of the commit that is being written."""
        return self.state.commit_no + 1

    def insert(self, records: Sequence[NewRecord], dimension: int) -> None:
        """Insert records at the next free rows; their vectors are appended by the caller."""
        first = self.state.n_rows
        self._connection.executemany(
            "INSERT INTO records(row, id, text, text_hash, metadata, alpha, kappa, expires_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ((first + i, *record) for i, record in enumerate(records)),
        )
        if self.state.tokenizer is not None:
            self._connection.executemany(
                "INSERT INTO words(rowid, text) VALUES (?, ?)",
                ((first + i, record.text) for i, record in enumerate(records) if record.text),
            )
        expiries_us = [r.expires_us for r in records if r.expires_us is not None]
        if self.state.next_expiry_us is not None:
            expiries_us.append(self.state.next_expiry_us)
        self.state = self.state._replace(
            n_rows=first + len(records),
            n_live=self.state.n_live + len(records),
            dimension=dimension,
            next_expiry_us=min(expiries_us, default=None),
        )

    def delete(self, rows: Iterable[int]) -> int:
        """Delete the records of those rows, which must be live; return how many."""
        bound = [(int(row), self.commit_no) for row in rows]
        if self.state.tokenizer is not None:
            texts = self._connection.executemany(
                "SELECT row, text FROM records WHERE row = ? AND text <> ''",
                ((row,) for row, _ in bound),
            )
            self._connection.executemany(
                "INSERT INTO words(words, rowid, text) VALUES ('delete', ?, ?)", texts
            )
        self._connection.executemany(
            "DELETE FROM records WHERE row = ?", ((row,) for row, _ in bound)
        )
        self._connection.executemany("INSERT INTO tombstones(row, commit_no) VALUES (?, ?)", bound)
        self.state = self.state._replace(n_live=self.state.n_live - len(bound))
        return len(bound)

    def delete_expired(self) -> None:
        """Delete the records that have expired: the first thing in every transaction."""
        if len(self.expired_rows):
            self.delete(self.expired_rows.tolist())
            self._present, self.expired_rows = "1", self.expired_rows[:0]
            next_us = self._connection.execute("SELECT min(expires_us) FROM records").get
            self.state = self.state._replace(next_expiry_us=next_us)

    def set_metadata(self, changes: Iterable[tuple[str, int]]) -> None:
        """Replace the metadata (JSON text) of rows."""
        self._connection.executemany(
            f"UPDATE records SET metadata = ?, changed = {self.commit_no:d} WHERE row = ?", changes
        )

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

    def renumber(
        self,
        rows: RowArray,
        generation: int,
        files: Iterable[VectorFile],
        blocks: Iterable[Block],
    ) -> None:
        """Give the live rows, ascending, the numbers from 0 on; the dead ones are forgotten.

        Parameters
        ----------
        rows
            The live rows.
        generation, files, blocks
            The vector files that hold them in this order.
        """
        for table in ("tombstones", "vector_files", "vector_blocks"):
            self._connection.execute(f"DELETE FROM {table}").fetchall()
        self.record_vectors(files, blocks)
        self._connection.executemany(
            "UPDATE records SET row = ? WHERE row = ?",
            ((new, row) for new, row in enumerate(rows.tolist()) if new != row),
        )
        derived.rebuild(self._connection)
        self.state = self.state._replace(generation=generation, n_rows=len(rows))

    def write_state(self) -> None:
        """Write the counters: the last statement before the commit."""
        state = self.state
        self._connection.execute(
            "UPDATE state SET generation = ?, dimension = ?, embedder = ?, commit_no = ?,"
            " n_rows = ?, n_live = ?, dropped = ?, next_expiry_us = ?",
            (
                state.generation,
                state.dimension,
                state.embedder,
                self.commit_no,
                state.n_rows,
                state.n_live,
                state.dropped,
                state.next_expiry_us,
            ),
        ).fetchall()
