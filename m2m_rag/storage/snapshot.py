"""Reading the catalog: everything that one snapshot of a collection can answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import apsw
import numpy as np

from m2m_rag._types import Condition, RowArray
from m2m_rag.errors import InvalidFilterError
from m2m_rag.storage.vectors.base import Block, Layout, VectorFile

_COLUMNS = "row, id, text, metadata, alpha, kappa"


class State(NamedTuple):
    """The single row of ``state`` (see `m2m_rag.storage.schema`)."""

    collection: bytes
    metric: str
    generation: int
    dimension: int | None
    embedder: str | None
    commit_no: int
    n_rows: int
    n_live: int
    dropped: int


class StoredRecord(NamedTuple):
    """A row of ``records``; metadata still as JSON text."""

    row: int
    id: str
    text: str | None
    metadata: str
    alpha: float
    kappa: float | None


class Snapshot:
    """One whole commit, read within one transaction of `connection`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        row: Any = connection.execute(
            "SELECT collection, metric, generation, dimension, embedder, commit_no,"
            " n_rows, n_live, dropped FROM state"
        ).fetchone()
        self.state = State(*row)

    def layout(self) -> Layout:
        """Return the vector files of this commit."""
        rows = self._connection.execute(
            "SELECT number, name, first_row, rows FROM vector_files ORDER BY number"
        )
        return Layout([VectorFile(*row) for row in rows], self._checksums)

    def tombstones_since(self, commit_no: int) -> list[tuple[int, int]]:
        """Return (row, commit) of the rows that died after commit `commit_no`."""
        rows: Any = self._connection.execute(
            "SELECT row, commit_no FROM tombstones WHERE commit_no > ?", (commit_no,)
        ).fetchall()
        return cast("list[tuple[int, int]]", rows)

    def rows_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the rows of those ids that exist."""
        found: Any = self._connection.executemany(
            "SELECT id, row FROM records WHERE id = ?", ((id_,) for id_ in ids)
        )
        return dict(found)

    def rows_where(self, where: Condition) -> RowArray:
        """Return the rows that match, ascending."""
        rows = self._filtered("SELECT row FROM records", where, " ORDER BY row").fetchall()
        return np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows))

    def ids_where(self, where: Condition | None) -> list[str]:
        """Return the ids that match, in row order."""
        rows = self._filtered("SELECT id FROM records", where, " ORDER BY row")
        return [row[0] for row in rows]

    def count_where(self, where: Condition) -> int:
        """Return how many records match."""
        found = self._filtered("SELECT count(*) FROM records", where, "").get
        return int(found)

    def records(self, rows: Sequence[int] | RowArray) -> dict[int, StoredRecord]:
        """Return the records of those rows, by row."""
        found = self._connection.executemany(
            f"SELECT {_COLUMNS} FROM records WHERE row = ?", ((int(row),) for row in rows)
        )
        return {row[0]: StoredRecord(*row) for row in found}

    def records_where(
        self, where: Condition | None, limit: int | None = None, offset: int = 0
    ) -> Iterator[StoredRecord]:
        """Yield the records that match, in row order."""
        tail = f" ORDER BY row LIMIT {-1 if limit is None else limit:d} OFFSET {offset:d}"
        for row in self._filtered(f"SELECT {_COLUMNS} FROM records", where, tail):
            yield StoredRecord(*row)

    def rows_of_texts(self, hashes: Sequence[int]) -> list[tuple[str, int]]:
        """Return (text, row) of the records whose text has one of the hashes."""
        found: Any = self._connection.executemany(
            "SELECT text, row FROM records WHERE text_hash = ?", ((hash_,) for hash_ in hashes)
        )
        return list(found)

    def distinct(self, key: str, where: Condition | None) -> list[Any]:
        """Return the distinct values of a top-level metadata key, null and absent left out."""
        label = "$." + json.dumps(key, ensure_ascii=False)
        condition, parameters = where or Condition("1", [])
        rows = self._connection.execute(
            "SELECT DISTINCT metadata -> ? AS found FROM records"
            f" WHERE found <> 'null' AND {condition} ORDER BY found",
            [label, *parameters],
        )
        return [json.loads(row[0]) for row in rows]

    def _checksums(self, file: int, first: int, last: int) -> dict[int, Block]:
        rows = self._connection.execute(
            "SELECT file, block, rows, checksum FROM vector_blocks"
            " WHERE file = ? AND block BETWEEN ? AND ?",
            (file, first, last),
        )
        return {row[1]: Block(*row) for row in rows}

    def _filtered(self, select: str, where: Condition | None, tail: str) -> apsw.Cursor:
        if where is None:
            return self._connection.execute(select + tail)
        try:
            return self._connection.execute(f"{select} WHERE {where.sql}{tail}", where.parameters)
        except apsw.SQLError as error:
            raise InvalidFilterError(
                f"the filter is too large for one query ({error}). Split it, or use $in."
            ) from error
