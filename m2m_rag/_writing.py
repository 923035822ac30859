"""Writing a collection: each call is one commit, whole and on disk when it returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from m2m_rag._handle import Handle, WhereLike
from m2m_rag._types import FloatArray, WriteReport
from m2m_rag.config import LIMITS
from m2m_rag.errors import (
    DuplicateIdError,
    EmbedderMismatchError,
    InvalidInputError,
    LimitError,
    RecordNotFoundError,
)
from m2m_rag.filters import parse_where
from m2m_rag.inputs import as_choice, as_ids, as_list, as_text, as_vectors
from m2m_rag.records import as_records
from m2m_rag.storage.metadata import decode_metadata, encode_metadata, is_same_metadata
from m2m_rag.storage.snapshot import StoredRecord
from m2m_rag.storage.transaction import NewRecord, Transaction


class Writing(Handle):
    """The writing half of `m2m_rag.Collection`."""

    def bind_embedder(self, fingerprint: str) -> None:
        """Note which embedder fills the collection, or check that it is the same.

        Call it before paying for embeddings.

        Raises
        ------
        EmbedderMismatchError
            Another embedder is noted.
        """
        if not as_text(fingerprint, "fingerprint"):
            raise InvalidInputError(f"fingerprint: expected a name, got {fingerprint!r:.80}.")
        known = self.embedder
        if known is None:
            with self._transaction() as transaction:
                known = transaction.state.embedder
                if known is None:
                    transaction.set_embedder(fingerprint)
                    return
        if known != fingerprint:
            raise EmbedderMismatchError(
                f"collection {self._name!r} was filled by embedder {known!r}, got {fingerprint!r}: "
                "their vectors cannot be compared. Use the same embedder, or another collection."
            )

    def add(
        self,
        vectors: Any,
        *,
        ids: Iterable[str] | None = None,
        texts: Iterable[str | None] | None = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        alphas: Iterable[float] | None = None,
        kappas: Iterable[float | None] | None = None,
        expires_at: Iterable[datetime | None] | None = None,
    ) -> list[str]:
        """Add new records in one commit.

        Parameters
        ----------
        vectors
            ``(n, d)`` array-like of finite real numbers, stored as float32.
        ids
            Non-empty strings of at most 512 UTF-8 bytes; new ones are made when left out.
        texts
            A string or None for each record.
        metadatas
            A dictionary of JSON values, dates and datetimes, or None, for each record. It comes
            back exactly; a datetime's time zone comes back as its offset.
        alphas, kappas
            Weight (default 1) and concentration (default None) of each splat, above 0.
        expires_at
            For each record the moment from which on it is gone as if deleted, or None.

        Returns
        -------
        list of str
            The ids, in the order given.

        Raises
        ------
        DuplicateIdError
            An id exists already or stands twice in the batch; use `upsert` to replace.
        DimensionError, InvalidInputError, LimitError
            Naming the argument and the record.
        """
        batch, records = self._batch(vectors, ids, texts, metadatas, alphas, kappas, expires_at)
        given = [record.id for record in records]
        if len(set(given)) < len(given):
            twice = Counter(given).most_common(1)[0][0]
            raise DuplicateIdError(f"ids: {twice!r} stands twice in this batch. Use upsert().")
        if not records:
            return []
        with self._transaction() as transaction:
            self._check_room(transaction, batch)
            taken = transaction.rows_of(given)
            if taken:
                raise DuplicateIdError(
                    f"ids: {len(taken)} of {len(given)} exist already, such as "
                    f"{next(iter(taken))!r}. Nothing was added. Use upsert() to replace records."
                )
            self._parts.store.append(transaction, records, batch)
        return given

    def upsert(
        self,
        vectors: Any,
        *,
        ids: Iterable[str] | None = None,
        texts: Iterable[str | None] | None = None,
        metadatas: Iterable[Mapping[str, Any] | None] | None = None,
        alphas: Iterable[float] | None = None,
        kappas: Iterable[float | None] | None = None,
        expires_at: Iterable[datetime | None] | None = None,
        replace_where: WhereLike = None,
        only: Literal["changed", "existing"] | None = None,
    ) -> WriteReport:
        """Add records, or replace whole those whose id exists, in one commit.

        Parameters
        ----------
        vectors, ids, texts, metadatas, alphas, kappas, expires_at
            As for `add`. Of an id that stands twice in the batch, the last record counts.
        replace_where
            Records that match this filter and are not in the batch are deleted in the same
            commit: a document's passages change over from old to new at once.
        only
            ``"changed"`` leaves a record alone when all but its vector is equal, keys in any order;
            ``"existing"`` leaves out records whose id is not stored (any more), so that an update
            cannot bring back what was deleted meanwhile.

        Returns
        -------
        WriteReport
            The ids in the order given, and how many records were added, updated, deleted and
            skipped.
        """
        if only is not None:
            as_choice(only, "only", ("changed", "existing"))
        batch, records = self._batch(vectors, ids, texts, metadatas, alphas, kappas, expires_at)
        stale = parse_where(replace_where)
        given = [record.id for record in records]
        last = {id_: position for position, id_ in enumerate(given)}
        if len(last) < len(records):
            kept = sorted(last.values())
            batch, records = batch[kept], [records[position] for position in kept]
        if not records and stale is None:
            return WriteReport([], 0, 0, 0)
        with self._transaction() as transaction:
            self._check_room(transaction, batch)
            known = transaction.rows_of(list(last))
            gone = set() if stale is None else set(self._rows_where(transaction, stale).tolist())
            gone.difference_update(known.values())
            kept = _kept(transaction, records, known, only)
            n_skipped = len(records) - len(kept)
            if n_skipped:
                batch, records = batch[kept], [records[position] for position in kept]
            replaced = [known[record.id] for record in records if record.id in known]
            transaction.delete([*replaced, *gone])
            if records:
                self._parts.store.append(transaction, records, batch)
        n_added = len(records) - len(replaced)
        return WriteReport(given, n_added, len(replaced), len(gone), n_skipped)

    def update(
        self,
        ids: Iterable[str],
        metadatas: Iterable[Mapping[str, Any]],
        *,
        mode: Literal["merge", "replace"] = "merge",
    ) -> int:
        """Change the metadata of records; text and vector stay.

        Parameters
        ----------
        ids, metadatas
            One dictionary for each id.
        mode
            ``"merge"`` sets the given top-level keys and keeps the others, ``"replace"`` replaces
            the whole dictionary.

        Returns
        -------
        int
            How many records were changed.

        Raises
        ------
        RecordNotFoundError
            An id does not exist; nothing was changed.
        """
        as_choice(mode, "mode", ("merge", "replace"))
        wanted = as_ids(ids)
        changes = as_list(metadatas, "metadatas")
        if len(changes) != len(wanted):
            raise InvalidInputError(f"metadatas: {len(changes)} given for {len(wanted)} ids.")
        for position, change in enumerate(changes):
            encode_metadata(change, f"metadatas[{position}]")
        if not wanted:
            return 0
        with self._transaction() as transaction:
            rows = transaction.rows_of(wanted)
            missing = [id_ for id_ in wanted if id_ not in rows]
            if missing:
                raise RecordNotFoundError(
                    f"ids: {len(missing)} of {len(wanted)} do not exist in {self._name!r}, such as "
                    f"{missing[0]!r}. Nothing was changed."
                )
            current = {
                row: {} if mode == "replace" else decode_metadata(record.metadata)
                for row, record in transaction.records(list(rows.values())).items()
            }
            for id_, change in zip(wanted, changes, strict=True):
                if mode == "replace":
                    current[rows[id_]] = {}
                current[rows[id_]].update(change or {})
            transaction.set_metadata(
                (encode_metadata(metadata, "metadata"), row) for row, metadata in current.items()
            )
        return len(rows)

    def delete(self, ids: Iterable[str] | None = None, *, where: WhereLike = None) -> int:
        """Delete records by id, by filter, or those that fit both.

        An id that does not exist is no error. `clear` deletes everything.

        Returns
        -------
        int
            How many records were deleted.
        """
        if ids is None and where is None:
            raise InvalidInputError(
                "delete() needs ids or where. To delete every record, call clear()."
            )
        wanted = None if ids is None else as_ids(ids)
        parsed = parse_where(where)
        if wanted is not None and not wanted:
            return 0
        with self._transaction() as transaction:
            rows = None if wanted is None else set(transaction.rows_of(wanted).values())
            if parsed is not None:
                matching = set(self._rows_where(transaction, parsed).tolist())
                rows = matching if rows is None else rows & matching
            return transaction.delete(sorted(rows or ()))

    def clear(self) -> int:
        """Delete every record and return how many there were."""
        return self.delete(where={})

    def _check_room(self, transaction: Transaction, batch: FloatArray) -> None:
        """Check inside the transaction that the collection takes the batch.

        The dimension once more, for another writer may have made the first add.
        """
        if len(batch):
            as_vectors(batch[:1], transaction.state.dimension, "vectors")
        n_rows = transaction.state.n_rows + len(batch)
        if n_rows > LIMITS.rows:
            raise LimitError(
                f"collection {self._name!r} would hold {n_rows} rows, deleted ones included; at "
                f"most {LIMITS.rows} are supported. compact() takes the deleted ones out; or "
                "begin another collection."
            )

    def _batch(
        self,
        vectors: Any,
        ids: Any,
        texts: Any,
        metadatas: Any,
        alphas: Any,
        kappas: Any,
        expires_at: Any,
    ) -> tuple[FloatArray, list[NewRecord]]:
        self._check_open()
        batch = as_vectors(vectors, self.dimension, "vectors")
        if len(batch) > LIMITS.batch_records:
            raise LimitError(
                f"vectors: {len(batch)} records in one call; at most {LIMITS.batch_records} make "
                "one commit. Write them in several batches."
            )
        return batch, as_records(len(batch), ids, texts, metadatas, alphas, kappas, expires_at)


def _kept(
    transaction: Transaction,
    records: Sequence[NewRecord],
    known: Mapping[str, int],
    only: Literal["changed", "existing"] | None,
) -> list[int]:
    """Return the positions of the records that an upsert writes; `known` has the stored rows."""
    if only is None:
        return list(range(len(records)))
    if only == "existing":
        return [i for i, record in enumerate(records) if record.id in known]
    stored = transaction.records(list(known.values()))
    return [
        i
        for i, record in enumerate(records)
        if record.id not in known or not _equals(stored[known[record.id]], record)
    ]


def _equals(stored: StoredRecord, record: NewRecord) -> bool:
    return (
        stored.text == record.text
        and stored[4:] == (record.alpha, record.kappa, record.expires_us)
        and is_same_metadata(stored.metadata, record.metadata)
    )
