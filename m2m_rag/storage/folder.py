"""The database's folder: recognising one, making one, and a new folder for each collection."""

from __future__ import annotations

import uuid
from pathlib import Path

from m2m_rag.errors import FormatError, StorageError
from m2m_rag.storage.catalog import Catalog
from m2m_rag.storage.files import sync_folder
from m2m_rag.storage.lock import HOLDER_FILE, LOCK_FILE
from m2m_rag.storage.registry import REGISTRY_FILE, create_registry

COLLECTIONS_FOLDER = "collections"
_UNFINISHED = {LOCK_FILE, HOLDER_FILE, COLLECTIONS_FOLDER, REGISTRY_FILE + ".new"}
"""What an interrupted `make_database` may have left."""


def is_database(path: Path) -> bool:
    """Tell whether the folder is a database: whether it has a registry."""
    return (path / REGISTRY_FILE).exists()


def make_folder(path: Path) -> None:
    """Make the folder, for its owner only; one that exists must be empty.

    Raises
    ------
    FormatError
        The folder holds other things.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        foreign = {item.name for item in path.iterdir()} - _UNFINISHED
    except OSError as error:
        raise StorageError(f"{path} cannot be made a database folder ({error}).") from error
    if foreign and not is_database(path):
        raise FormatError(
            f"{path} is not empty and not a database of m2m_rag (it holds "
            f"{sorted(foreign)[0]!r}). Choose a new or empty folder."
        )


def make_database(path: Path) -> None:
    """Turn a folder into a database; the caller holds the writer lock."""
    (path / COLLECTIONS_FOLDER).mkdir(exist_ok=True, mode=0o700)
    create_registry(path)
    sync_folder(path.parent)


def make_collection(path: Path, metric: str, dimension: int | None) -> str:
    """Make a collection's folder, on disk, and return its name; nothing leads to it yet."""
    folder = path / COLLECTIONS_FOLDER / uuid.uuid4().hex
    folder.mkdir(parents=True, mode=0o700)
    Catalog.create(folder, metric, dimension)
    sync_folder(folder.parent)
    return folder.name
