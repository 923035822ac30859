"""Reading a collection: fetching, counting and searching records of one whole commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast, overload

import numpy as np

from m2m_rag._handle import Handle, WhereLike
from m2m_rag._types import Condition, FloatArray, Hit, MaskArray, Metadata, Record
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError
from m2m_rag.index.mmr import maximal_marginal_relevance
from m2m_rag.inputs import as_count, as_ids, as_queries, as_text, text_hash
from m2m_rag.storage.metadata import decode_metadata
from m2m_rag.storage.snapshot import Snapshot, StoredRecord

Vector1 = Sequence[float] | np.ndarray[tuple[int], np.dtype[Any]]
Vector2 = Sequence[Sequence[float]] | Sequence[FloatArray] | np.ndarray[tuple[int, int], Any]


class Reading(Handle):
    """The reading half of `m2m_rag.Collection`."""

    def get(
        self,
        ids: Iterable[str] | None = None,
        *,
        where: WhereLike = None,
        limit: int | None = None,
        offset: int = 0,
        include_vectors: bool = False,
    ) -> list[Record]:
        """Return records.

        Parameters
        ----------
        ids
            Only these, in this order; unknown ones are skipped. None for all, oldest first.
        where
            Only records that match.
        limit, offset
            A part of the result.
        include_vectors
            Fill `Record.vector`.
        """
        wanted = None if ids is None else as_ids(ids)
        parsed = self._condition(where)
        count = None if limit is None else as_count(limit, "limit", least=0)
        skip = as_count(offset, "offset", least=0)
        with self._snapshot() as snapshot:
            if wanted is None:
                stored = list(snapshot.records_where(parsed, count, skip))
            else:
                rows = snapshot.rows_of(wanted)
                allowed = set(rows.values())
                if parsed is not None:
                    allowed &= set(snapshot.rows_where(parsed).tolist())
                by_row = snapshot.records(sorted(allowed))
                stored = [by_row[rows[i]] for i in wanted if i in rows and rows[i] in by_row]
                stored = stored[skip:] if count is None else stored[skip : skip + count]
            return self._records(snapshot, stored, include_vectors)

    def ids(self, where: WhereLike = None) -> list[str]:
        """Return the ids of all records, or of those that match, oldest first."""
        parsed = self._condition(where)
        with self._snapshot() as snapshot:
            return snapshot.ids_where(parsed)

    def count(self, where: WhereLike = None) -> int:
        """Return how many records there are, or how many match."""
        parsed = self._condition(where)
        with self._snapshot() as snapshot:
            if parsed is None:
                return snapshot.state.n_live
            return snapshot.count_where(parsed)

    def distinct(self, key: str, where: WhereLike = None) -> list[Any]:
        """Return the distinct values of a top-level metadata key (null and absent left out)."""
        label = as_text(key, "key")
        parsed = self._condition(where)
        if "\0" in label:
            return []
        with self._snapshot() as snapshot:
            return snapshot.distinct(label, parsed)

    def vectors_of_texts(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """Return, for those texts that are stored already, the vector stored with one of them.

        Found by content hash and compared whole: with it, no text is embedded twice.
        """
        wanted = {as_text(text, f"texts[{i}]") for i, text in enumerate(texts)}
        with self._snapshot() as snapshot:
            found = snapshot.rows_of_texts([text_hash(text) for text in wanted])
            rows = {text: row for text, row in found if text in wanted}
            vectors = self._parts.store.vectors(
                snapshot, np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
            )
        return dict(zip(rows, vectors, strict=True))

    @overload
    def search(
        self, vector: Vector1, k: int = ..., *, where: WhereLike = ..., include_vectors: bool = ...
    ) -> list[Hit]: ...

    @overload
    def search(
        self, vector: Vector2, k: int = ..., *, where: WhereLike = ..., include_vectors: bool = ...
    ) -> list[list[Hit]]: ...

    def search(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        include_vectors: bool = False,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the k records with the best score, best first, ties to the older record.

        Parameters
        ----------
        vector
            One query ``(d,)``, or several ``(m, d)``.
        k
            Results wanted, at least 1. When fewer records match, all of them come back.
        where
            Only records that match are considered: with m ≥ k matching records, k come back.
        include_vectors
            Fill `Hit.vector`.

        Returns
        -------
        list of Hit, or a list of them for each of several queries.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        parsed = self._condition(where)
        with self._snapshot() as snapshot:
            queries, is_single = as_queries(vector, snapshot.state.dimension)
            results = self._hits(snapshot, queries, k, parsed, include_vectors)
        return results[0] if is_single else results

    def search_mmr(
        self,
        vector: Any,
        k: int = 4,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        where: WhereLike = None,
        include_vectors: bool = False,
    ) -> list[Hit]:
        """Find k records that are near the query and unlike each other.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        k
            Results wanted.
        fetch_k
            The best `fetch_k` records by score are the candidates.
        lambda_mult
            1: relevance alone; 0: diversity alone (Carbonell & Goldstein 1998).
        where
            Only records that match are considered.
        include_vectors
            Fill `Hit.vector`.

        Returns
        -------
        list of Hit
            In the order chosen; `Hit.score` is the score against the query.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        fetch_k = as_count(fetch_k, "fetch_k", least=1, most=LIMITS.k)
        if not isinstance(lambda_mult, (int, float, np.floating)) or not 0.0 <= lambda_mult <= 1.0:
            raise InvalidInputError(f"lambda_mult: expected 0 to 1, got {lambda_mult!r:.80}.")
        parsed = self._condition(where)
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_mmr takes one query of shape (d,).")
            candidates = self._hits(snapshot, query, fetch_k, parsed, include_vectors=True)[0]
        if not candidates:
            return []
        vectors = np.stack([cast(FloatArray, hit.vector) for hit in candidates])
        chosen = maximal_marginal_relevance(query[0], vectors, k, float(lambda_mult))
        hits = [candidates[position] for position in chosen]
        return hits if include_vectors else [hit._replace(vector=None) for hit in hits]

    def stats(self) -> dict[str, Any]:
        """Return counters and settings of the collection."""
        with self._snapshot() as snapshot:
            state = snapshot.state
            files = snapshot.layout().files
        return {
            "name": self._name,
            "metric": state.metric,
            "dimension": state.dimension,
            "embedder": state.embedder,
            "n_records": state.n_live,
            "n_dead_rows": state.n_rows - state.n_live,
            "n_vector_files": len(files),
            "vector_bytes": 4 * (state.dimension or 0) * state.n_rows,
            "n_commits": state.commit_no,
            "index": "flat",
            "backend": self._parts.backend.name,
        }

    def __len__(self) -> int:
        """Return how many records there are."""
        return self.count()

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records of one commit, oldest first, without their vectors."""
        with self._snapshot() as snapshot:
            stored = snapshot.records_where(None)
            if self._parts.store.folder is None:
                stored = iter(list(stored))
            else:
                yield from (_record(record, None) for record in stored)
                return
        yield from (_record(record, None) for record in stored)

    def _hits(
        self,
        snapshot: Snapshot,
        queries: FloatArray,
        k: int,
        where: Condition | None,
        include_vectors: bool,
    ) -> list[list[Hit]]:
        if snapshot.state.n_live == 0 or len(queries) == 0:
            return [[] for _ in queries]
        allowed = self._allowed(snapshot, where)
        segments = self._parts.store.segments(snapshot)
        all_rows, all_scores = self._parts.index.search(queries, k, segments, allowed)
        results = []
        for rows, scores in zip(all_rows, all_scores, strict=True):
            by_row = snapshot.records(rows)
            records = self._records(
                snapshot, [by_row[row] for row in rows.tolist()], include_vectors
            )
            results.append(
                [
                    Hit(record.id, score, *record[1:])
                    for record, score in zip(records, scores.tolist(), strict=True)
                ]
            )
        return results

    def _allowed(self, snapshot: Snapshot, where: Condition | None) -> MaskArray | None:
        if where is None:
            return self._parts.store.liveness.mask(snapshot)
        mask = np.zeros(snapshot.state.n_rows, dtype=np.bool_)
        mask[snapshot.rows_where(where)] = True
        return mask

    def _records(
        self, snapshot: Snapshot, stored: list[StoredRecord], include_vectors: bool
    ) -> list[Record]:
        if not include_vectors:
            return [_record(record, None) for record in stored]
        rows = np.array([record.row for record in stored], dtype=np.int64)
        vectors = self._parts.store.vectors(snapshot, rows)
        return [_record(record, vector) for record, vector in zip(stored, vectors, strict=True)]


def _record(stored: StoredRecord, vector: FloatArray | None) -> Record:
    metadata: Metadata = decode_metadata(stored.metadata)
    return Record(stored.id, stored.text, metadata, stored.alpha, stored.kappa, vector)
