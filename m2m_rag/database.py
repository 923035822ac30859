"""A database: a folder of collections with one writing process."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, cast

from m2m_rag._forking import ForkSafeLock
from m2m_rag._opening import Opening
from m2m_rag._parts import Parts
from m2m_rag._types import DURABILITIES, METRICS, Durability, Metric
from m2m_rag._underway import Underway
from m2m_rag.collection import Collection
from m2m_rag.config import LIMITS
from m2m_rag.errors import (
    ClosedError,
    CollectionExistsError,
    FormatError,
    InvalidInputError,
    ReadOnlyError,
    StorageError,
    SyncError,
    did_you_mean,
)
from m2m_rag.inputs import as_choice, as_count, as_path, as_seconds, check_name
from m2m_rag.storage.folder import (
    changing,
    is_database,
    make_database,
    make_folder,
    remove_collection,
)
from m2m_rag.storage.lock import WriterLock
from m2m_rag.storage.registry import Registry
from m2m_rag.storage.words import TOKENIZERS

_log = logging.getLogger(__name__)
_IN_MEMORY = Path(os.devnull)
"""Stands for "no folder" in the constructor; compared by identity, so no path given equals it."""


class Database(Opening):
    """A folder of collections.

    Parameters
    ----------
    path
        The folder; it is made when it is missing. An existing folder must be a database or empty.
    read_only
        Refuse writes, and a folder that is no database.
    lock_timeout_s
        Seconds to wait for another writing process before `WriterLockedError`.
    durability
        What a write has reached when its call returns. ``"full"``: the disk, so it survives a power
        loss. ``"normal"``: the system, so it survives the end of this process; a power loss may
        take the last commits, whole ones, and leaves the rest as it was: at least what was there
        at the last `flush`, `compact` or `close`. ``"off"``: the same, but a power loss may damage
        the database, and only `verify` may notice: for data that can be made again.

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
        durability: Durability = "full",
    ) -> None:
        in_memory = path is _IN_MEMORY
        self._path = None if in_memory else as_path(path)
        wait_s = as_seconds(lock_timeout_s, "lock_timeout_s")
        if durability not in DURABILITIES:
            raise InvalidInputError(
                f"durability: expected one of {', '.join(DURABILITIES)}, got {durability!r}."
                f"{did_you_mean(str(durability), DURABILITIES)}"
            )
        self._durability = durability
        self._settings = {
            "read_only": read_only,
            "lock_timeout_s": wait_s,
            "durability": durability,
        }
        self._read_only = read_only
        self._writer = None if self._path is None else WriterLock(self._path, wait_s)
        self._closed = False
        self._lock = ForkSafeLock()
        self._underway = Underway()
        self._parts: dict[str, Parts] = {}
        self._registry = Registry(self._path)
        try:
            if self._path is not None and not is_database(self._path):
                self._make_folder(self._path)
            self._registry.names()
        except BaseException:
            self.close()
            raise

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
        tokenizer: str | None = "unicode61",
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
        tokenizer
            How texts are cut into words for `Collection.search` by text: ``"unicode61"`` (words,
            without accents), ``"porter"`` (the same, reduced to English stems), ``"trigram"``
            (any part of three letters or more, also of languages without spaces), or None: no
            full-text index.
        exist_ok
            Open the collection when it exists with the same metric and dimension; its tokenizer
            stays as it is.

        Raises
        ------
        CollectionExistsError
            The name is taken, or (`exist_ok`) by a collection with another metric or dimension.
        """
        check_name(name)
        as_choice(metric, "metric", METRICS)
        if tokenizer is not None:
            as_choice(tokenizer, "tokenizer", tuple(TOKENIZERS))
        wanted = dimension
        if dimension is not None:
            wanted = as_count(dimension, "dimension", least=1, most=LIMITS.dimension)
        self._check_open()
        with self._lock:
            is_new = self._registry.folder_of(name) is None
            if is_new and self._create(name, wanted, metric, tokenizer):
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
        check_name(name)
        self._check_open()
        with self._lock:
            return self._open(name)

    def list(self) -> list[str]:
        """Return the names of all collections, sorted."""
        self._check_open()
        return self._registry.names()

    def drop(self, name: str) -> None:
        """Remove a collection with everything in it; open handles of it raise from now on."""
        check_name(name)
        self._check_open()
        with self._lock, changing:
            parts = self._parts_of(name)
            folder = parts.store.folder
            key = name if folder is None else folder.name
            removed = False
            try:
                catalog = parts.store.catalog
                with self._writing(), catalog.transaction(is_alone=True) as transaction:
                    transaction.set_dropped()
                    self._registry.remove(name, key)  # The moment at which it is dropped.
                    removed = True
            except StorageError as error:
                if not removed:
                    raise
                _log.warning("%s was dropped, but open readers are not told: %s", name, error)
            del self._parts[key]
            if folder is not None:
                parts.close()
                remove_collection(folder)

    def close(self) -> None:
        """Close everything and give the writer lock back. Closing twice is fine.

        Calls of other threads that are under way are waited for, unfinished iterations end. After
        that this process has no file of the database open or mapped, also when it raises. When it
        is interrupted, the database is open as before, or closed, and closing it again completes
        it. It is not for signal handlers: a handler may have interrupted what others wait for.

        Raises
        ------
        SyncError
            With durability ``"normal"``: the last commits could not be put on disk.
        """
        try:
            self._underway.end()
            with self._lock:
                self._closed = True
                with ExitStack() as ending:
                    if self._writer is not None:
                        ending.callback(self._writer.release)
                    self._close_collections()
        except BaseException:
            if not self._closed:
                self._underway.resume()
            raise

    def __reduce__(self) -> tuple[Callable[..., Database], tuple[Path, dict[str, Any]]]:
        """Pickle and copy as path and settings: the copy is a handle of its own."""
        self._check_open()
        if self._path is None:
            raise InvalidInputError(
                "a database in memory cannot be pickled or copied: its records would be lost. "
                "Make it with Database(path)."
            )
        return _reopened, (Path(os.path.abspath(self._path)), self._settings)

    def __repr__(self) -> str:
        """Show the place."""
        return f"<Database {'in memory' if self._path is None else str(self._path)!r}>"

    # --- below the surface

    def _make_folder(self, path: Path) -> None:
        if self._read_only:
            raise FormatError(f"{path} is not a database of m2m_rag. Open it without read_only.")
        make_folder(path)
        make_database(path, cast(WriterLock, self._writer))

    def _begin_write(self) -> None:
        """Make sure that this process may write."""
        if self._read_only:
            raise ReadOnlyError(
                f"database {self._path} was opened with read_only=True. Open it without to write."
            )
        if self._writer is not None:
            self._writer.acquire()
            if self._closed:
                self._writer.release()
                self._check_open()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write; once the system fails to put a write on disk, the database takes no more."""
        self._begin_write()
        try:
            yield
        except SyncError as error:
            if self._writer is not None:
                self._writer.stop(error)
            raise

    def _open(self, name: str) -> Collection:
        return Collection(self, name, self._parts_of(name))

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self!r} was closed. Open it again with Database(path).")


def _reopened(path: Path, settings: dict[str, Any]) -> Database:
    if not is_database(path):
        raise FormatError(f"{path} is not a database of m2m_rag any more. Was it moved or deleted?")
    return Database(path, **settings)
