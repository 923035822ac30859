"""A database: a folder of collections with one writing process."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, cast

from m2m_rag._types import METRICS, Backend, Index, Metric
from m2m_rag.collection import Collection
from m2m_rag.compute import get_backend
from m2m_rag.config import COLLECTION_NAME, compute_backend
from m2m_rag.errors import (
    ClosedError,
    CollectionExistsError,
    CollectionNotFoundError,
    FormatError,
    InvalidInputError,
    ReadOnlyError,
    did_you_mean,
)
from m2m_rag.filters.sql import SQL_FUNCTIONS
from m2m_rag.index import FlatIndex
from m2m_rag.inputs import as_count
from m2m_rag.storage.folder import (
    COLLECTIONS_FOLDER,
    is_database,
    make_collection,
    make_database,
    make_folder,
)
from m2m_rag.storage.lock import WriterLock
from m2m_rag.storage.registry import Registry
from m2m_rag.storage.store import CollectionStore

_IN_MEMORY = Path(os.devnull)
"""Stands for "no folder" in the constructor; compared by identity, so no path given equals it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the handles of one collection share."""

    store: CollectionStore
    index: Index
    backend: Backend
    write_lock: threading.Lock


class Database:
    """A folder of collections.

    Parameters
    ----------
    path
        The folder; it is made when it is missing. An existing folder must be a database or empty.
    read_only
        Refuse writes, and a folder that is no database.
    lock_timeout_s
        Seconds to wait for another writing process before `WriterLockedError`.

    Notes
    -----
    The first write takes the database's writer lock, which `close` (or the end of the process)
    gives back. Reading needs no lock: a reader sees the newest whole commit of any process.

    Examples
    --------
    >>> with Database.in_memory() as db:
    ...     notes = db.create("notes")
    ...     _ = notes.add([[1.0, 0.0], [0.0, 1.0]], ids=["x", "y"], texts=["east", "north"])
    ...     notes.search([0.9, 0.1], k=1)[0].text
    'east'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        lock_timeout_s: float = 0.0,
    ) -> None:
        in_memory = path is _IN_MEMORY
        if not in_memory and (not isinstance(path, (str, os.PathLike)) or not os.fspath(path)):
            raise InvalidInputError(f"path: expected a folder's path, got {path!r:.80}.")
        self._path = None if in_memory else Path(path)
        self._read_only = read_only
        self._writer = None if self._path is None else WriterLock(self._path, lock_timeout_s)
        self._closed = False
        self._lock = threading.RLock()
        self._parts: dict[str, Parts] = {}
        if self._path is not None and not is_database(self._path):
            self._make_folder(self._path)
        self._registry = Registry(self._path)
        self._registry.names()

    @classmethod
    def in_memory(cls) -> Self:
        """Return a database that lives in memory and ends with `close`; it shares nothing."""
        return cls(_IN_MEMORY)

    @property
    def path(self) -> Path | None:
        """The folder, or None in memory."""
        return self._path

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def create(
        self,
        name: str,
        dimension: int | None = None,
        metric: Metric = "cosine",
        *,
        exist_ok: bool = False,
    ) -> Collection:
        """Create a collection.

        Parameters
        ----------
        name
            1 to 128 of letters, digits, ``.``, ``_`` and ``-``, beginning with a letter or digit.
        dimension
            Length of the vectors; None leaves it to the first add.
        metric
            ``"cosine"``, ``"dot"`` or ``"l2"``.
        exist_ok
            Open the collection when it exists with the same settings.

        Raises
        ------
        CollectionExistsError
            The name is taken, or (`exist_ok`) by a collection with other settings.
        """
        _check_name(name)
        if metric not in METRICS:
            raise InvalidInputError(
                f"metric: expected one of {', '.join(METRICS)}, got {metric!r}."
                f"{did_you_mean(str(metric), METRICS)}"
            )
        wanted = None if dimension is None else as_count(dimension, "dimension", least=1)
        self._check_open()
        with self._lock:
            if self._registry.folder_of(name) is None:
                self._create(name, wanted, metric)
                return self._open(name)
            if not exist_ok:
                raise CollectionExistsError(
                    f"collection {name!r} exists already. Open it with open({name!r}), or pass "
                    "exist_ok=True."
                )
            collection = self._open(name)
        found = collection.dimension
        if collection.metric != metric or (wanted is not None and found not in (None, wanted)):
            raise CollectionExistsError(
                f"collection {name!r} exists with metric {collection.metric!r} and dimension "
                f"{found}; asked for {metric!r} and {wanted}. Use another name."
            )
        return collection

    def open(self, name: str) -> Collection:
        """Open a collection.

        Raises
        ------
        CollectionNotFoundError
            There is none of that name.
        """
        _check_name(name)
        self._check_open()
        with self._lock:
            return self._open(name)

    def list(self) -> list[str]:
        """Return the names of all collections, sorted."""
        self._check_open()
        return self._registry.names()

    def drop(self, name: str) -> None:
        """Remove a collection with everything in it; open handles of it raise from now on."""
        _check_name(name)
        self._check_open()
        with self._lock:
            parts = self._parts_of(name)
            self._begin_write()
            with parts.write_lock, parts.store.catalog.transaction() as transaction:
                transaction.set_dropped()
            self._registry.remove(name)
            folder = parts.store.folder
            if folder is not None:
                del self._parts[folder.name]
                parts.store.close()
                shutil.rmtree(folder, ignore_errors=True)
            else:
                del self._parts[name]

    def close(self) -> None:
        """Close everything and give the writer lock back. Closing twice is fine."""
        if self._closed:
            return
        self._closed = True
        with self._lock:
            for parts in self._parts.values():
                parts.store.close()
            self._parts.clear()
            self._registry.close()
            if self._writer is not None:
                self._writer.release()

    def __enter__(self) -> Self:
        """Return the database; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the database."""
        self.close()

    def __repr__(self) -> str:
        """Show the place."""
        return f"<Database {'in memory' if self._path is None else str(self._path)!r}>"

    # --- below the surface

    def _make_folder(self, path: Path) -> None:
        if self._read_only:
            raise FormatError(f"{path} is not a database of m2m_rag. Open it without read_only.")
        make_folder(path)
        self._begin_write()
        if not is_database(path):
            make_database(path)

    def _begin_write(self) -> None:
        """Make sure that this process may write."""
        if self._read_only:
            raise ReadOnlyError(
                f"database {self._path} was opened with read_only=True. Open it without to write."
            )
        if self._writer is not None:
            self._writer.acquire()

    def _create(self, name: str, dimension: int | None, metric: Metric) -> None:
        self._begin_write()
        if self._path is None:
            store = CollectionStore(None, SQL_FUNCTIONS)
            store.catalog.initialise(metric, dimension)
            self._parts[name] = self._make_parts(store, metric)
            self._registry.add(name, name)
            return
        self._registry.add(name, make_collection(self._path, metric, dimension))

    def _open(self, name: str) -> Collection:
        return Collection(self, name, self._parts_of(name))

    def _parts_of(self, name: str) -> Parts:
        folder_name = self._registry.folder_of(name)
        if folder_name is None:
            names = self._registry.names()
            raise CollectionNotFoundError(
                f"there is no collection {name!r} in {self!r}.{did_you_mean(name, names)} "
                f"It holds: {', '.join(names) or 'none'}. Make one with create({name!r})."
            )
        parts = self._parts.get(folder_name)
        if parts is None:
            folder = cast(Path, self._path) / COLLECTIONS_FOLDER / folder_name
            store = CollectionStore(folder, SQL_FUNCTIONS)
            with store.catalog.snapshot() as snapshot:
                metric = cast(Metric, snapshot.state.metric)
            parts = self._parts[folder_name] = self._make_parts(store, metric)
        return parts

    def _make_parts(self, store: CollectionStore, metric: Metric) -> Parts:
        backend = get_backend(compute_backend())
        return Parts(store, FlatIndex(backend, metric), backend, threading.Lock())

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self!r} was closed. Open it again with Database(path).")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not COLLECTION_NAME.fullmatch(name):
        raise InvalidInputError(
            f"name: {name!r:.80} is not a collection's name. Use 1 to 128 letters, digits, '.', "
            "'_' and '-', beginning with a letter or digit."
        )
