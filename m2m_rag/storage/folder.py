"""The database's folder: recognising one, making one, and a new folder for each collection."""

from __future__ import annotations

import shutil
import time
import uuid
from pathlib import Path

from m2m_rag._forking import ForkSafeLock
from m2m_rag.errors import CorruptError, FormatError, StorageError
from m2m_rag.storage.catalog import Catalog
from m2m_rag.storage.files import os_errors, private_folder, sync_folder
from m2m_rag.storage.lock import HOLDER_FILE, LOCK_FILE, POLL_S, WriterLock
from m2m_rag.storage.plain import COLLECTIONS_FOLDER
from m2m_rag.storage.registry import REGISTRY_FILE, create_registry

MAKING_S = 10.0
"""How long to wait for another process that holds the lock of a folder not yet a database."""
_UNFINISHED = {LOCK_FILE, HOLDER_FILE, COLLECTIONS_FOLDER}
"""What an interrupted `make_database` may have left, besides the unfinished registry."""
changing = ForkSafeLock()
"""Threads of one process share the writer lock, so they take turns where a folder exists that no
name leads to yet: it must not be taken for a leftover."""


def is_database(path: Path) -> bool:
    """Tell whether the folder is a database: whether it has a registry."""
    try:
        return (path / REGISTRY_FILE).exists()
    except OSError as error:
        raise StorageError(f"{path} cannot be looked into ({error}).") from error


def make_folder(path: Path) -> None:
    """Make the folder, for its owner only; one that exists must be empty.

    Raises
    ------
    FormatError
        The folder holds other things.
    CorruptError
        It holds collections, but the registry that names them is gone.
    """
    try:
        private_folder(path)
        names = {item.name for item in path.iterdir()} - _UNFINISHED
        foreign = {name for name in names if not name.startswith(REGISTRY_FILE + ".new")}
        collections = path / COLLECTIONS_FOLDER
        is_filled = collections.is_dir() and any(collections.iterdir())
    except OSError as error:
        raise StorageError(f"{path} cannot be made a database folder ({error}).") from error
    if is_filled and not is_database(path):
        raise CorruptError(
            f"{path / REGISTRY_FILE} is missing: it names the collections that are in {path}. "
            "Restore a backup; nothing was changed."
        )
    if foreign and not is_database(path):
        raise FormatError(
            f"{path} is not empty and not a database of m2m_rag (it holds "
            f"{sorted(foreign)[0]!r}). Choose a new or empty folder."
        )


def make_database(path: Path, writer: WriterLock) -> None:
    """Turn a folder into a database, unless another process is doing so: then wait for it.

    Raises
    ------
    WriterLockedError
        Another process holds the lock and no database came of it.
    """
    patience = time.monotonic() + MAKING_S
    while not is_database(path):
        if writer.try_acquire() or time.monotonic() > patience:
            writer.acquire()
            _make(path)
        else:
            time.sleep(POLL_S)


def _make(path: Path) -> None:
    with changing, os_errors(path):
        if not is_database(path):
            private_folder(path / COLLECTIONS_FOLDER)
            create_registry(path)
            sync_folder(path.parent)


def make_collection(path: Path, metric: str, dimension: int | None, tokenizer: str | None) -> str:
    """Make a collection's folder, on disk, and return its name; nothing leads to it yet."""
    folder = path / COLLECTIONS_FOLDER / uuid.uuid4().hex
    with os_errors(folder):
        private_folder(folder)
        try:
            Catalog.create(folder, metric, dimension, tokenizer)
            sync_folder(folder.parent)
        except BaseException:
            remove_collection(folder)
            raise
    return folder.name


def remove_collection(folder: Path) -> None:
    """Remove a collection's folder, which no name leads to (any more), as far as possible."""
    shutil.rmtree(folder, ignore_errors=True)
