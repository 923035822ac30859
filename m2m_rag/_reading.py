"""Reading a collection: fetching and counting records of one whole commit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from m2m_rag._columns import counted
from m2m_rag._dates import EPOCH
from m2m_rag._handle import Handle, WhereLike
from m2m_rag._iterating import Items, Iteration
from m2m_rag._types import Facet, FloatArray, Metadata, Record
from m2m_rag.errors import CorruptError
from m2m_rag.filters import check_path, parse_where
from m2m_rag.inputs import as_count, as_ids, as_list, as_seconds, as_text
from m2m_rag.records import text_hash
from m2m_rag.storage.metadata import decode_metadata
from m2m_rag.storage.snapshot import Snapshot, StoredRecord


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
        parsed = parse_where(where)
        count = None if limit is None else as_count(limit, "limit", least=0)
        skip = as_count(offset, "offset", least=0)
        with self._snapshot() as snapshot:
            stop = None if count is None else skip + count
            if wanted is not None:
                rows = snapshot.rows_of(wanted)
                allowed = set(rows.values())
                if parsed is not None:
                    allowed &= set(self._rows_where(snapshot, parsed).tolist())
                by_row = snapshot.records(sorted(allowed))
                stored = [by_row[rows[i]] for i in wanted if i in rows and rows[i] in by_row]
                stored = stored[skip:stop]
            elif parsed is not None:
                chosen = self._rows_where(snapshot, parsed)[skip:stop]
                stored = list(snapshot.records(chosen).values())
            else:
                stored = list(snapshot.all_records(count, skip))
            return self._records(snapshot, stored, include_vectors)

    def ids(self, where: WhereLike = None) -> list[str]:
        """Return the ids of all records, or of those that match, oldest first."""
        parsed = parse_where(where)
        with self._snapshot() as snapshot:
            if parsed is None:
                return snapshot.ids()
            return snapshot.ids(self._rows_where(snapshot, parsed))

    def count(self, where: WhereLike = None) -> int:
        """Return how many records there are, or how many match."""
        parsed = parse_where(where)
        with self._snapshot() as snapshot:
            if parsed is None:
                return snapshot.n_live
            alive = self._parts.store.liveness.mask(snapshot)
            mask = self._parts.columns.mask(parsed, snapshot)
            return int(np.count_nonzero(mask if alive is None else mask & alive))

    def distinct(self, key: str, where: WhereLike = None) -> list[Any]:
        """Return the distinct values at a metadata path, null and absent left out, in JSON order.

        A list counts as the values in it.
        """
        found = [facet.value for facet in self.facets(key, where) if facet.value is not None]
        return sorted(found, key=lambda value: json.dumps(value, default=str))

    def facets(self, key: str, where: WhereLike = None, *, limit: int | None = None) -> list[Facet]:
        """Count the records by their value at a metadata path, most frequent first.

        Parameters
        ----------
        key
            A path, as in a filter. Records without it are not counted; one whose value is a list
            counts once for each distinct value in it.
        where
            Count only records that match.
        limit
            So many values at most.
        """
        path = check_path(key, "key")
        parsed = parse_where(where)
        most = None if limit is None else as_count(limit, "limit", least=0)
        with self._snapshot() as snapshot:
            numbers, values = self._parts.columns.numbered(path, snapshot)
            mask = self._parts.store.liveness.mask(snapshot)
            if parsed is not None:
                wanted = self._parts.columns.mask(parsed, snapshot)
                mask = wanted if mask is None else wanted & mask
        counts = np.bincount(numbers if mask is None else numbers[mask], minlength=len(values))
        return counted(values, counts)[:most]

    def vectors_of_texts(self, texts: Sequence[str]) -> dict[str, FloatArray]:
        """Return, for those texts that are stored already, the vector stored with one of them.

        Found by content hash and compared whole: with it, no text is embedded twice.
        """
        wanted = {as_text(text, f"texts[{i}]") for i, text in enumerate(as_list(texts, "texts"))}
        with self._snapshot() as snapshot:
            found = snapshot.rows_of_texts([text_hash(text) for text in wanted])
            rows = {text: row for text, row in found if text in wanted}
            vectors = self._parts.store.vectors(
                snapshot, np.fromiter(rows.values(), dtype=np.int64, count=len(rows))
            )
        return dict(zip(rows, vectors, strict=True))

    def stats(self) -> dict[str, Any]:
        """Return counters and settings of the collection."""
        with self._snapshot() as snapshot:
            state, n_live = snapshot.state, snapshot.n_live
            files = snapshot.layout().files
        return {
            "name": self._name,
            "metric": state.metric,
            "dimension": state.dimension,
            "embedder": state.embedder,
            "tokenizer": state.tokenizer,
            "durability": self._parts.store.durability if self._parts.store.folder else "memory",
            "n_records": n_live,
            "n_dead_rows": state.n_rows - n_live,
            "n_vector_files": len(files),
            "vector_bytes": 4 * (state.dimension or 0) * state.n_rows,
            "n_commits": state.commit_no,
            "index": self._parts.indexer.index.stats(),
            "backend": self._parts.indexer.backend.name,
        }

    def wait_for_index(self, timeout_s: float | None = None) -> bool:
        """Wait until the index has taken in what is committed now.

        A search never needs this: it reads what the index lacks. It is for measuring.

        Parameters
        ----------
        timeout_s
            Longest wait; None waits as long as it takes.

        Returns
        -------
        bool
            Whether nothing is left to do; False, too, when the index could not be brought up to
            date (the log says why).
        """
        wait_s = None if timeout_s is None else as_seconds(timeout_s, "timeout_s")
        latest_s = None if wait_s is None else time.monotonic() + wait_s
        while True:
            indexer = self._parts.indexer
            with self._snapshot() as snapshot:
                before = indexer.index.state
                indexer.tend(snapshot)
                state = snapshot.state
            left_s = None if latest_s is None else max(0.0, latest_s - time.monotonic())
            if not indexer.wait(left_s):
                return False
            if indexer.is_done(state.n_live, state.n_rows):
                return True
            if indexer.index.state is before:  # nothing came of it
                return False

    def __len__(self) -> int:
        """Return how many records there are."""
        return self.count()

    def __iter__(self) -> Iteration[Record]:
        """Iterate over the records of one commit, oldest first, without their vectors."""
        is_on_disk = self._parts.store.folder is not None
        return self._parts.iterations.start(
            self._all_records(), self._check_open, holds_connection=is_on_disk
        )

    def _all_records(self) -> Items[Record]:
        with self._snapshot() as snapshot:
            stored = snapshot.all_records()
            if self._parts.store.folder is None:
                stored = iter(list(stored))
            else:
                yield from (_record(record, None) for record in stored)
                return
        yield from (_record(record, None) for record in stored)

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
    expires_at = None
    if stored.expires_us is not None:
        try:
            expires_at = EPOCH + timedelta(microseconds=stored.expires_us)
        except OverflowError as error:
            raise CorruptError(
                f"record {stored.id!r:.80} expires at {stored.expires_us} µs, which is no date. "
                "Restore a backup."
            ) from error
    return Record(stored.id, stored.text, metadata, stored.alpha, stored.kappa, vector, expires_at)
