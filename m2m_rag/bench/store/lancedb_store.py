"""LanceDB: a table of columns, with and without an index of the vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._optional import require
from m2m_rag._types import FloatArray
from m2m_rag.bench.store.base import COLLECTION, StoreMethod
from m2m_rag.bench.store.conditions import Terms
from m2m_rag.bench.store.data import TEXT, Batch, Schema

ROW, VECTOR = "bench_row", "bench_vector"
INDEX_FROM = 5000
"""Rows from which the vectors are indexed."""
N_PROBES = 20
REFINE_FACTOR = 5
"""Five times k candidates are re-ranked by their vectors.

Chosen on 100,000 text embeddings under filters of half to a thousandth of the rows: with this
index the least recall was 0.988. With the default one, IVF-PQ, it was 0.69 at a factor of 10 and
0.85 at 50, for as much time.
"""


class LanceStore(StoreMethod):
    """HNSW over 8-bit vectors and re-ranking; the columns that filters use are indexed as well.

    Both happen once all rows are there, after the many small fragments were compacted, as the
    manual advises.
    """

    name: ClassVar[str] = "lancedb"
    package: ClassVar[str] = "lancedb"
    distribution: ClassVar[str] = "lancedb"

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        super().__init__(folder, schema, n_threads)
        self._lancedb: Any = require("lancedb", "bench-store")
        self._index: Any = require("lancedb.index", "bench-store")
        self._arrow: Any = require("pyarrow", "bench-store")
        types = {"str": self._arrow.string(), "int": self._arrow.int64()}
        self._columns = {
            key: types.get(kind, self._arrow.float64()) for key, kind in schema.fields.items()
        }
        self._database: Any = None
        self._table: Any = None

    def create(self) -> None:
        """Make the table, a column for each metadata key."""
        arrow = self._arrow
        vector = arrow.list_(arrow.float32(), self.schema.dimension)
        columns = {ROW: arrow.int64(), VECTOR: vector, TEXT: arrow.string(), **self._columns}
        self._connect()
        self._table = self._database.create_table(COLLECTION, schema=arrow.schema(columns))

    def open(self) -> None:
        """Open the table."""
        self._connect()
        self._table = self._database.open_table(COLLECTION)

    def add(self, batch: Batch) -> None:
        """Add an Arrow table; what a record lacks is null."""
        arrow = self._arrow
        values = arrow.array(batch.vectors.ravel())
        columns = {
            ROW: arrow.array(batch.rows, arrow.int64()),
            VECTOR: arrow.FixedSizeListArray.from_arrays(values, self.schema.dimension),
            TEXT: arrow.array(batch.texts, arrow.string()),
        }
        for key, kind in self._columns.items():
            columns[key] = arrow.array([m.get(key) for m in batch.metadatas], kind)
        self._table.add(arrow.table(columns))

    def finish(self) -> None:
        """Compact, then index the columns of filters and the vectors."""
        self._table.optimize()
        for key in self.schema.keys:
            self._table.create_index(key, config=self._index.BTree())
        self._index_vectors()

    def search(self, query: FloatArray, k: int, terms: Terms) -> list[int]:
        """Search; the filter comes first, so that k rows are found under it."""
        found = self._query(query).select([ROW, TEXT, *self._columns, "_distance"]).limit(k)
        if terms:
            found = found.where(_sql(terms), prefilter=True)
        return [int(row[ROW]) for row in found.to_list()]

    def delete(self, terms: Terms) -> None:
        """Delete by filter."""
        self._table.delete(_sql(terms))

    def count(self) -> int:
        """Count."""
        return int(self._table.count_rows())

    def close(self) -> None:
        """Let go of the table; what was written is on disk."""
        self._table = self._database = None

    def parameters(self) -> dict[str, Any]:
        """Return the indexes, and how they are searched."""
        indexes = {index.name: index.index_type for index in self._table.list_indices()}
        return {"indexes": indexes, "nprobes": N_PROBES, "refine_factor": REFINE_FACTOR}

    def _index_vectors(self) -> None:
        if self.count() >= INDEX_FROM:
            config = self._index.HnswSq(distance_type="cosine")
            self._table.create_index(VECTOR, config=config)

    def _query(self, query: FloatArray) -> Any:
        found = self._table.search(query, vector_column_name=VECTOR).distance_type("cosine")
        return found.nprobes(N_PROBES).refine_factor(REFINE_FACTOR)

    def _connect(self) -> None:
        self._database = self._lancedb.connect(str(self.folder))


class LanceFlatStore(LanceStore):
    """Exact search; only the columns that filters use are indexed."""

    name: ClassVar[str] = "lancedb-flat"

    def parameters(self) -> dict[str, Any]:
        """Return the indexes."""
        return {"indexes": super().parameters()["indexes"]}

    def _index_vectors(self) -> None:
        pass

    def _query(self, query: FloatArray) -> Any:
        return self._table.search(query, vector_column_name=VECTOR).distance_type("cosine")


def _sql(terms: Terms) -> str:
    """Return a filter as SQL. Keys and values come from the data set, and are quoted."""
    parts = []
    for key, op, value in terms:
        literal = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)
        parts.append(f"`{key}` {'=' if op == 'eq' else '>='} {literal}")
    return " AND ".join(parts)
