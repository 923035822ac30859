"""Backups of a database, and restoring one.

A backup is a database folder of its own, that can be opened as it is. It is made beside readers and
writers: each catalog is copied by SQLite's backup interface as one commit has it, under a snapshot
that stays open until its vector files are there, so that no compaction removes them meanwhile.
Vector files that are sealed never change and are linked where the file system can (both folders
then share the disk's bytes); the last one grows, in either database, and is always copied. What was
written is verified, synced and renamed from ``<path>.<random>.new``: a backup is whole or absent
(`m2m_rag.storage.unfinished`).

Restoring copies the files to a new folder, verifies them there and renames it: nothing is deleted,
and nothing but plain files under our own names is read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import apsw

from m2m_rag.errors import CorruptError, FormatError, M2MError, StorageError
from m2m_rag.storage.compacting import checkpoint
from m2m_rag.storage.files import os_errors, private_folder, sync_file, sync_folder
from m2m_rag.storage.folder import is_database
from m2m_rag.storage.migrating import CATALOG_STEPS, migrate
from m2m_rag.storage.plain import (
    COLLECTIONS_FOLDER,
    INDEX_FOLDER,
    VECTORS_FOLDER,
    collection_folder,
    refuse_link,
    walk,
)
from m2m_rag.storage.registry import KIND as REGISTRY_KIND
from m2m_rag.storage.registry import REGISTRY_FILE
from m2m_rag.storage.reports import VerifyReport
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import LOG_SUFFIXES, copy_database, opened
from m2m_rag.storage.unfinished import new_folder
from m2m_rag.storage.vectors import Layout, check_files
from m2m_rag.storage.vectors.format import HEADER_BYTES
from m2m_rag.storage.verifying import IndexCheck, read_registry, verify_database

Bring: TypeAlias = Callable[[Path, Path], None]
"""Brings a file that does not change to a new place."""
_COPIED_AT_ONCE = 1 << 20


def back_up(source: Path, path: Path, check_index: IndexCheck) -> VerifyReport:
    """Write a backup of the database `source` to the new folder `path`, and verify it.

    Raises
    ------
    StorageError
        The path exists, or lies in the database; or a file could not be written.
    CorruptError
        What was read is damaged; there is no backup.
    """
    _refuse_inside(source, path)
    with new_folder(path) as folder:
        with opened(source / REGISTRY_FILE, REGISTRY_KIND) as registry:
            copy_database(registry, folder / REGISTRY_FILE)
        for name, folder_name in read_registry(folder).items():
            try:
                _back_up_collection(source, folder_name, folder)
            except M2MError:
                if read_registry(source).get(name) == folder_name:
                    raise
                _forget(folder, name)  # it was dropped meanwhile
        return _finish(folder, check_index)


def restore(backup: Path, path: Path, check_index: IndexCheck) -> VerifyReport:
    """Copy the backup to the new folder `path`, verified.

    Raises
    ------
    StorageError
        The path exists, or lies in the backup; or a file could not be written.
    FormatError
        The backup is no database, or holds links or devices.
    CorruptError
        The backup is damaged, or its registry holds names that are not ours; nothing was restored.
    """
    if not is_database(backup):
        raise FormatError(f"{backup} is not a database of m2m_rag, so it is no backup of one.")
    _refuse_inside(backup, path)
    for name, _ in walk(backup):
        refuse_link(backup / name)
    with new_folder(path) as folder:
        _copy_database_file(backup / REGISTRY_FILE, folder / REGISTRY_FILE)
        for folder_name in read_registry(folder).values():
            origin = collection_folder(backup, folder_name)
            target = _make_collection(folder, folder_name)
            _copy_database_file(origin / CATALOG_FILE, target / CATALOG_FILE)
            _bring_index(origin, target, _copy)
            migrate(target / CATALOG_FILE, KIND, CATALOG_STEPS)
            with opened(target / CATALOG_FILE, KIND) as catalog:
                _bring_vectors(Snapshot(catalog), origin, target, _copy)
        return _finish(folder, check_index)


def _refuse_inside(source: Path, path: Path) -> None:
    if os.path.realpath(path).startswith(os.path.realpath(source) + os.sep):
        raise StorageError(f"{path} lies inside {source}. Choose a folder beside it.")


def _back_up_collection(source: Path, name: str, folder: Path) -> None:
    origin = collection_folder(source, name)
    target = _make_collection(folder, name)
    # The index first: one that is newer than the catalog might lack records that it holds.
    _bring_index(origin, target, _link)
    with opened(origin / CATALOG_FILE, KIND) as catalog:
        catalog.execute("BEGIN").fetchall()
        snapshot = Snapshot(catalog)
        if snapshot.state.dropped:
            raise CorruptError(f"{origin} was dropped.")
        copy_database(catalog, target / CATALOG_FILE)
        _bring_vectors(snapshot, origin, target, _link)


def _bring_vectors(snapshot: Snapshot, origin: Path, target: Path, bring: Bring) -> None:
    state, layout = snapshot.state, snapshot.layout()
    check_files(layout.files, state.generation, state.n_rows, origin)
    for place in plan_vectors(layout, state.dimension or 0):
        source, copy = origin / VECTORS_FOLDER / place[0], target / VECTORS_FOLDER / place[0]
        private_folder(copy.parent)
        refuse_link(source)
        with os_errors(source):
            if place[1] is None:
                bring(source, copy)
            else:
                _copy(source, copy, place[1])


def plan_vectors(layout: Layout, dimension: int) -> list[tuple[str, int | None]]:
    """Return each vector file's name, and how many bytes are to be copied: None for a sealed one.

    Only the last file can still grow, so only it must not be shared.
    """
    names: list[tuple[str, int | None]] = [(file.name, None) for file in layout.files[:-1]]
    for last in layout.files[-1:]:
        names.append((last.name, HEADER_BYTES + 4 * dimension * last.rows))
    return names


def _bring_index(origin: Path, target: Path, bring: Bring) -> None:
    """Bring the index's snapshots; one that goes away meanwhile, or is no file, is not missed."""
    for path in sorted(origin.glob(f"{INDEX_FOLDER}/*/*.hrm2")):
        copy = target / path.relative_to(origin)
        try:
            refuse_link(path.parent)
            refuse_link(path)
            if path.is_file():
                private_folder(copy.parent)
                bring(path, copy)
        except FileNotFoundError:
            continue


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except (OSError, NotImplementedError):
        _copy(source, target)


def _copy(source: Path, target: Path, n_bytes: int | None = None) -> None:
    """Copy a file, or its first bytes, into a new private one."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream, open(source, "rb") as origin:
        if n_bytes is None:
            shutil.copyfileobj(origin, stream, _COPIED_AT_ONCE)
            return
        while n_bytes > 0:
            part = origin.read(min(_COPIED_AT_ONCE, n_bytes))
            if not part:
                raise CorruptError(f"{source} is cut off: {n_bytes} bytes are missing.")
            stream.write(part)
            n_bytes -= len(part)


def _copy_database_file(source: Path, target: Path) -> None:
    """Copy a database file that nobody writes, with the log that a killed process may have left."""
    with os_errors(source):
        for suffix in ("", LOG_SUFFIXES[0]):
            path = source.with_name(source.name + suffix)
            if not suffix or path.exists():
                _copy(path, target.with_name(target.name + suffix))


def _make_collection(folder: Path, name: str) -> Path:
    target = collection_folder(folder, name)
    private_folder(target)
    return target


def _forget(folder: Path, name: str) -> None:
    """Take a collection out of a backup that is being made."""
    with opened(folder / REGISTRY_FILE, REGISTRY_KIND) as registry:
        found: Any = registry.execute("SELECT folder FROM collections WHERE name = ?", (name,)).get
        registry.execute("DELETE FROM collections WHERE name = ?", (name,)).fetchall()
    shutil.rmtree(collection_folder(folder, str(found)), ignore_errors=True)


def _finish(folder: Path, check_index: IndexCheck) -> VerifyReport:
    """Verify what was written, drop unfit indexes, and put everything on disk."""
    _empty_logs(folder)  # first: a disk too full to open a database must not be taken for damage
    report = verify_database(folder, check_index)
    if report.lost:
        first = report.lost[0]
        raise CorruptError(
            f"{first.place} is damaged, so nothing was written: {first.problem} "
            f"({len(report.lost)} findings in all; `m2m doctor` tells them)."
        )
    private_folder(folder / COLLECTIONS_FOLDER)
    for finding in report.findings:
        if finding.place.endswith(".hrm2") and finding.kind in ("derived", "leftover"):
            (folder / finding.place).unlink()
    for name, _ in walk(folder):
        path = folder / name
        (sync_folder if path.is_dir() else sync_file)(path)
    sync_folder(folder)
    return report


def _empty_logs(folder: Path) -> None:
    checkpoint(folder / REGISTRY_FILE, REGISTRY_KIND, apsw.SQLITE_CHECKPOINT_TRUNCATE, 0.0)
    for name in read_registry(folder).values():
        catalog = folder / COLLECTIONS_FOLDER / name / CATALOG_FILE
        checkpoint(catalog, KIND, apsw.SQLITE_CHECKPOINT_TRUNCATE, 0.0)
