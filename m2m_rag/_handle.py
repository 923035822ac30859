"""A handle of a collection: what it is, when it may be used, and its snapshots and transactions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from m2m_rag._closing import Closing
from m2m_rag._types import Metric, RowArray
from m2m_rag._underway import Underway
from m2m_rag.errors import ClosedError, CollectionNotFoundError, StorageError
from m2m_rag.filters import Filter
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.transaction import Transaction

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from m2m_rag._parts import Parts
    from m2m_rag.database import Database

WhereLike: TypeAlias = Mapping[str, Any] | Filter | None


class Handle(Closing):
    """What reading and writing have in common."""

    def __init__(self, database: Database, name: str, parts: Parts) -> None:
        self._database = database
        self._name = name
        self._parts = parts
        self._closed = False
        with self._snapshot() as snapshot:
            self._metric = cast(Metric, snapshot.state.metric)

    @property
    def database(self) -> Database:
        """The database that holds the collection."""
        return self._database

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._name

    @property
    def metric(self) -> Metric:
        """``"cosine"``, ``"dot"`` or ``"l2"``; see `m2m_rag.scores`."""
        return self._metric

    @property
    def dimension(self) -> int | None:
        """Length of the vectors; None until the first add of a collection made without one."""
        with self._snapshot() as snapshot:
            return snapshot.state.dimension

    @property
    def embedder(self) -> str | None:
        """Fingerprint of the embedder that fills the collection, if one was bound."""
        with self._snapshot() as snapshot:
            return snapshot.state.embedder

    def close(self) -> None:
        """Close this handle; the database stays open. Closing twice is fine."""
        self._closed = True

    def __reduce__(self) -> tuple[Callable[[Database, str], Handle], tuple[Database, str]]:
        """Pickle and copy as database and name; a copy's database is its own, to be closed."""
        self._check_open()
        return _reopened, (self._database, self._name)

    def __repr__(self) -> str:
        """Show name and place, without touching the disk."""
        return f"<Collection {self._name!r} of {self._database!r}>"

    @property
    def _underway(self) -> Underway:
        return self._database._underway

    @contextmanager
    def _snapshot(self) -> Iterator[Snapshot]:
        self._check_open()
        with self._explained(), self._parts.store.catalog.snapshot() as snapshot:
            self._check_present(snapshot)
            yield snapshot

    @contextmanager
    def _transaction(self, *, is_alone: bool = False) -> Iterator[Transaction]:
        self._check_open()
        with (
            self._explained(),
            self._database._writing(),
            self._parts.store.catalog.transaction(is_alone=is_alone) as transaction,
        ):
            self._check_present(transaction)
            yield transaction
        try:
            self._parts.consider_index(transaction.state.n_live, transaction.state.n_rows)
        except Exception as error:
            _log.warning("%r is stored, but its index is not tended: %s", self._name, error)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Name the cause when the collection was dropped or closed in the middle of a call."""
        try:
            yield
        except (ClosedError, StorageError):
            self._check_open()
            if not self._database._holds(self._name, self._parts.store):
                raise self._dropped() from None
            raise

    def _rows_where(self, snapshot: Snapshot, where: Filter) -> RowArray:
        """Return the rows of the records that match, ascending."""
        return snapshot.present(np.flatnonzero(self._parts.columns.mask(where, snapshot)))

    def _check_open(self) -> None:
        if self._closed or self._database.closed:
            raise ClosedError(
                f"collection {self._name!r} was closed. Open it again with Database.open()."
            )

    def _check_present(self, snapshot: Snapshot) -> None:
        if snapshot.state.dropped:
            raise self._dropped()

    def _dropped(self) -> CollectionNotFoundError:
        return CollectionNotFoundError(f"collection {self._name!r} was dropped.")


def _reopened(database: Database, name: str) -> Handle:
    return database.open(name)
