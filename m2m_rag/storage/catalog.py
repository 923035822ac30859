"""A collection's catalog: snapshots for readers, transactions for the writer."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import MappingProxyType

import apsw

from m2m_rag._types import Durability
from m2m_rag.errors import StorageError, SyncError
from m2m_rag.storage.acknowledged import Acknowledged
from m2m_rag.storage.grouping import Writers
from m2m_rag.storage.page_places import MOST_BYTES, check_places, forget_places, note_places
from m2m_rag.storage.pool import ConnectionPool
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import (
    NO_FUNCTIONS,
    SqlFunctions,
    create_database,
    open_database,
    sync_log,
    translated,
)
from m2m_rag.storage.transaction import Transaction
from m2m_rag.storage.words import create_words

SYNCHRONOUS: Mapping[Durability, int] = MappingProxyType({"full": 2, "normal": 1, "off": 0})
"""SQLite's setting of that name."""

_log = logging.getLogger(__name__)


class Catalog:
    """The catalog in `folder`, or in memory when `folder` is None.

    A snapshot stays what it is while others commit. In memory, readers and writers take turns.

    Parameters
    ----------
    folder
        The collection's folder.
    functions
        SQL functions that filters need.
    durability
        ``"full"``: a commit is on disk when its transaction ends. ``"normal"``: a power loss may
        take the last commits, whole; SQLite syncs its log when it moves it into the file.
        ``"off"``: nothing is synced.
    """

    def __init__(
        self,
        folder: Path | None,
        functions: SqlFunctions = NO_FUNCTIONS,
        durability: Durability = "full",
    ) -> None:
        self._durability = durability
        self._path = None if folder is None else folder / CATALOG_FILE
        self._functions = functions
        self._acknowledged = None if folder is None else Acknowledged(folder)
        self._has_written = self._is_checked = False
        self._pool = ConnectionPool(self._connect, single=folder is None)
        self.writers = Writers(
            self._pool.connection,
            self._path,
            self._note,
            shares=folder is not None and durability != "off",
        )

    @staticmethod
    def create(folder: Path, metric: str, dimension: int | None, tokenizer: str | None) -> None:
        """Create the catalog's file in `folder`, with its first state, on disk."""
        create_database(folder / CATALOG_FILE, KIND)
        catalog = Catalog(folder)
        try:
            catalog.initialise(metric, dimension, tokenizer)
        finally:
            catalog.close()

    def initialise(self, metric: str, dimension: int | None, tokenizer: str | None) -> None:
        """Write the state of an empty collection."""
        with translated(self._path), self._pool.connection() as connection, connection:
            connection.execute(
                "INSERT INTO state VALUES (1, ?, ?, 1, ?, NULL, 0, 0, 0, 0, ?, NULL)",
                (os.urandom(16), metric, dimension, tokenizer),
            ).fetchall()
            if tokenizer is not None:
                create_words(connection, tokenizer)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Read one whole commit, the newest at this moment."""
        with translated(self._path), self._pool.connection() as connection:
            connection.execute("BEGIN").fetchall()
            try:
                yield Snapshot(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK").fetchall()

    def transaction(self, *, is_alone: bool = False) -> AbstractContextManager[Transaction]:
        """Write one commit; an exception undoes all of it.

        Writers wait their turn. When the block ends, the commit is on disk, alone or together with
        those of other threads (see `m2m_rag.storage.grouping`).

        Parameters
        ----------
        is_alone
            Share the commit with nobody.
        """
        return self.writers.transaction(is_alone=is_alone)

    def sync(self) -> None:
        """Put on disk what is committed by now, before anything derived from it is.

        Others may commit with durability ``"normal"``. SQLite syncs its log before it moves commits
        from there into the file, but it moves none while somebody reads older ones.

        Raises
        ------
        SyncError
            It failed, now or before; writes are refused from then on.
        """
        if self._durability == "off" or self._path is None:
            return
        self.writers.check()
        try:
            sync_log(self._path)
        except SyncError as error:
            self.writers.refuse(error)
            raise

    def close(self) -> None:
        """Close all connections; the last to close leaves a file without a log."""
        has_written, self._has_written = self._has_written, False
        try:
            if has_written and self._durability == "full" and self._path is not None:
                self._note_places(self._path)
        finally:
            self._pool.close()  # it waits for those who write
        if self._durability == "normal" and (has_written or self._has_written):
            self._has_written = False
            self.sync()

    def _note_places(self, path: Path) -> None:
        try:
            with translated(path), self._pool.connection() as connection:
                note_places(connection, path)
        except StorageError as error:
            _log.warning("%s: its pages' places were not noted: %s", path, error)

    def _note(self, last: Transaction) -> None:
        if self._path is None or self._acknowledged is None:
            return
        if not self._has_written:
            self._has_written = True
            forget_places(self._path)
        if self._durability == "full":
            self._acknowledged.note(last.state.collection, last.commit_no)

    def _connect(self) -> apsw.Connection:
        noted = None if self._acknowledged is None else self._acknowledged.read()
        connection = open_database(self._path, KIND, self._functions)
        connection.pragma("synchronous", SYNCHRONOUS[self._durability])
        if self._acknowledged is not None:
            try:
                self._acknowledged.check(noted, connection)
                if self._path is not None and not self._is_checked:
                    check_places(connection, self._path, MOST_BYTES)
                    self._is_checked = True
            except BaseException:
                connection.close()
                raise
        return connection
