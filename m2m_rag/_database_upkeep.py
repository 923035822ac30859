"""Looking after a database: verifying, repairing, backing up, restoring, compacting, flushing."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

import apsw

from m2m_rag._closing import Closing
from m2m_rag._underway import Underway, waited_for
from m2m_rag._upkeep import PATIENCE_S, check_index
from m2m_rag.errors import CollectionNotFoundError, InvalidInputError, M2MError, OldFormatError
from m2m_rag.inputs import as_path
from m2m_rag.storage import backing_up, compacting, leftovers
from m2m_rag.storage.folder import changing, remove_collection
from m2m_rag.storage.migrating import CATALOG_STEPS, migrate
from m2m_rag.storage.registry import KIND as REGISTRY_KIND
from m2m_rag.storage.registry import REGISTRY_FILE, Registry
from m2m_rag.storage.reports import CompactReport, RepairReport, VerifyReport, merged
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.snapshot import State
from m2m_rag.storage.store import CollectionStore
from m2m_rag.storage.verifying import (
    found_name,
    n_orphaned,
    read_registry,
    verify_database,
)

if TYPE_CHECKING:
    from m2m_rag.collection import Collection

Result = TypeVar("Result")


class DatabaseUpkeep(Closing):
    """The part of `m2m_rag.Database` that looks after what is stored."""

    if TYPE_CHECKING:
        _path: Path | None
        _read_only: bool
        _registry: Registry
        _underway: Underway

        def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None: ...
        def open(self, name: str) -> Collection: ...
        def list(self) -> builtins.list[str]: ...
        def _begin_write(self) -> None: ...
        def _check_open(self) -> None: ...

    @waited_for
    def verify(self) -> VerifyReport:
        """Read everything that is stored and hold it against its checksums and counts.

        See `Collection.verify`; this also finds files that nothing leads to. Nothing is changed.
        """
        self._check_open()
        if self._path is None:
            return merged([*self._of_each(lambda collection: collection.verify()).values()])
        return verify_database(self._path, check_index)

    @waited_for
    def repair(self, *, drop_damaged: bool = False) -> RepairReport:
        """Repair every collection, and remove what an interrupted create or drop has left.

        A collection with records that no name leads to, as after an older copy of the registry was
        put in place, gets the name ``found-`` with the beginning of its folder's.

        Parameters
        ----------
        drop_damaged
            As for `Collection.repair`.
        """
        self._check_open()
        self._begin_write()
        done: list[str] = []
        dropped: list[str] = []
        for name in self.list():
            try:
                report = self.open(name).repair(drop_damaged=drop_damaged)
            except M2MError as error:
                done.append(f"{name}: could not be repaired: {error}")
                continue
            done += [f"{name}: {what}" for what in report.done]
            dropped += report.dropped_ids
        if self._path is not None:
            done += _sweep(self._path, self._registry)
        return RepairReport(done, dropped, self.verify().findings)

    @waited_for
    def backup(self, path: str | os.PathLike[str]) -> VerifyReport:
        """Write a verified backup to a new folder, beside readers and writers.

        Each collection is as one commit left it. The backup is a database that can be opened as it
        is; `restore` copies it to another place. Vector files that are full (1 GiB) never change,
        so they are linked where the file system can and take no space twice; a backup that is to
        survive the disk belongs on another one.

        Parameters
        ----------
        path
            A folder that does not exist yet; it appears whole.

        Returns
        -------
        VerifyReport
            What was read of the finished backup.

        Raises
        ------
        StorageError
            The path exists, or a file could not be written; nothing is left.
        CorruptError
            The database is damaged.
        """
        self._check_open()
        return backing_up.back_up(self._on_disk(), as_path(path), check_index)

    @classmethod
    def restore(cls, backup: str | os.PathLike[str], path: str | os.PathLike[str]) -> Self:
        """Copy a backup to a new folder, verify it there, and return it opened.

        Parameters
        ----------
        backup
            The backup's folder, which nobody writes to. Links and devices in it are refused and
            other files left out, so it may come from anyone.
        path
            A folder that does not exist yet. To replace a database, close it and move it away
            first: nothing is ever overwritten.

        Raises
        ------
        StorageError
            The path exists, or lies in the backup; or a file could not be written; nothing is left.
        FormatError, CorruptError
            The backup is no database, or damaged; nothing was written.
        """
        target = as_path(path)
        backing_up.restore(as_path(backup), target, check_index)
        return cls(target)

    @waited_for
    def compact(self, *, erase: bool = False) -> dict[str, CompactReport]:
        """Compact every collection (see `Collection.compact`); return the reports by name."""
        self._check_open()
        return self._of_each(lambda collection: collection.compact(erase=erase))

    @waited_for
    def flush(self) -> None:
        """Bring everything to its final place on disk (see `Collection.flush`)."""
        self._check_open()
        self._begin_write()
        self._of_each(lambda collection: collection.flush())
        if self._path is not None:
            path = self._path / REGISTRY_FILE
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE
            compacting.checkpoint(path, REGISTRY_KIND, mode, PATIENCE_S)

    def _of_each(self, act: Callable[[Collection], Result]) -> dict[str, Result]:
        """Do something to every collection, in the order of names, but those dropped meanwhile."""
        results = {}
        for name in self.list():
            with suppress(CollectionNotFoundError):
                results[name] = act(self.open(name))
        return results

    def _state_of(self, store: CollectionStore) -> State:
        """Return a collection's state; a catalog of an older format is brought up to date."""
        try:
            with store.catalog.snapshot() as snapshot:
                return snapshot.state
        except OldFormatError:
            if self._read_only or store.folder is None:
                raise
        self._begin_write()
        migrate(store.folder / CATALOG_FILE, KIND, CATALOG_STEPS)
        with store.catalog.snapshot() as snapshot:
            return snapshot.state

    def _on_disk(self) -> Path:
        if self._path is None:
            raise InvalidInputError("a database in memory has no files to back up.")
        return self._path


def diagnose(path: Path) -> VerifyReport:
    """Verify the database in a folder, however damaged it is."""
    return verify_database(path, check_index)


def _sweep(path: Path, registry: Registry) -> list[str]:
    """Remove leftovers in the database's own folder; name collections that hold records."""
    done = []
    with changing:
        uses = leftovers.in_database(path, set(read_registry(path).values()))
        files = {name: use for name, use in uses.items() if not (path / name).is_dir()}
        for name, use in uses.items():
            folder = path / name
            if use != "leftover" or not folder.is_dir():
                continue
            try:
                n_records = n_orphaned(folder)
            except M2MError:
                continue
            if not n_records:
                remove_collection(folder)
                done.append(f"removed {name}, which nothing led to")
                continue
            found = found_name(folder.name)
            if registry.add(found, folder.name):
                done.append(f"named {name}, which nothing led to, {found!r}")
            else:
                done.append(f"{name}: left without a name, for another collection is {found!r}")
        done += [f"removed {name}, which nothing led to" for name in leftovers.sweep(path, files)]
    return done
