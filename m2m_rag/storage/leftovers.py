"""Which files of a database's folder are in use, which are left over, and which are not ours.

Left over is what an interrupted create, drop or compaction did not take away: files under our own
names that nothing leads to. The decision is a function of names; `sweep` executes it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Literal, TypeAlias

from m2m_rag.storage.acknowledged import COMMIT_FILE
from m2m_rag.storage.files import os_errors, sync_folder
from m2m_rag.storage.lock import HOLDER_FILE, LOCK_FILE
from m2m_rag.storage.page_places import PLACES_FILE
from m2m_rag.storage.plain import (
    COLLECTIONS_FOLDER,
    FOLDER_NAME,
    INDEX_FOLDER,
    VECTORS_FOLDER,
    is_plain,
    walk,
)
from m2m_rag.storage.registry import REGISTRY_FILE
from m2m_rag.storage.schema import CATALOG_FILE
from m2m_rag.storage.sqlite import LOG_SUFFIXES

WRITING_S = 3600.0
"""A snapshot of the index that is younger than that may still be being written."""
Use: TypeAlias = Literal["used", "leftover", "foreign"]
_VECTOR_FILE = re.compile(VECTORS_FOLDER + r"/\d{1,19}-\d{1,19}\.f32")
_INDEX_FILE = re.compile(INDEX_FOLDER + r"/(\d{1,19})/[0-9a-f-]+\.hrm2(\.tmp)?")
_INDEX_GENERATION = re.compile(INDEX_FOLDER + r"/(\d{1,19})")
OLD_CATALOG = re.compile(re.escape(CATALOG_FILE) + r"\.v\d{1,9}")


def use_in_collection(path: str, generation: int, vector_files: Collection[str]) -> Use:
    """Say what a file or folder of a collection is for.

    Parameters
    ----------
    path
        From the collection's folder, with ``/``.
    generation, vector_files
        The committed state: its generation, the names of its vector files.
    """
    if path in (VECTORS_FOLDER, INDEX_FOLDER, COMMIT_FILE, PLACES_FILE) or _is_database(
        path, CATALOG_FILE
    ):
        return "used"
    if path.startswith(CATALOG_FILE) and ".new" in path:
        return "leftover"
    if OLD_CATALOG.fullmatch(path):
        return "used"
    if _VECTOR_FILE.fullmatch(path):
        return "used" if path.removeprefix(VECTORS_FOLDER + "/") in vector_files else "leftover"
    folder = _INDEX_GENERATION.fullmatch(path)
    if folder:
        return "used" if int(folder.group(1)) == generation else "leftover"
    file = _INDEX_FILE.fullmatch(path)
    if file:
        is_used = int(file.group(1)) == generation and file.group(2) is None
        return "used" if is_used else "leftover"
    return "foreign"


def use_in_database(path: str, folders: Collection[str]) -> Use:
    """Say what a file or folder of a database is for, those below ``collections/<id>`` left out.

    Parameters
    ----------
    path
        From the database's folder, with ``/``.
    folders
        The collections' folders that names lead to.
    """
    if path in (LOCK_FILE, HOLDER_FILE, COLLECTIONS_FOLDER) or _is_database(path, REGISTRY_FILE):
        return "used"
    if path.startswith(REGISTRY_FILE + ".new"):
        return "leftover"
    parent, _, name = path.rpartition("/")
    if parent == COLLECTIONS_FOLDER and FOLDER_NAME.fullmatch(name):
        return "used" if name in folders else "leftover"
    return "foreign"


def in_collection(folder: Path, generation: int, files: Collection[str]) -> dict[str, Use]:
    """Return what every file and folder of a collection is for, inner ones after outer ones."""
    writing_since_s = time.time() - WRITING_S
    return {
        path: use_in_collection(path, generation, files) if is_plain(found) else "foreign"
        for path, found in walk(folder)
        if not (path.endswith(".tmp") and found.st_mtime > writing_since_s)
    }


def in_database(path: Path, folders: Collection[str]) -> dict[str, Use]:
    """Return what the files and folders of a database are for, but for the collections' own."""
    inner = COLLECTIONS_FOLDER + "/"
    return {
        name: use_in_database(name, folders) if is_plain(found) else "foreign"
        for name, found in walk(path)
        if name.count("/") < 2 or not name.startswith(inner)
    }


def sweep(folder: Path, uses: dict[str, Use]) -> list[str]:
    """Remove the files left over, and the folders left over that are empty; return their names."""
    swept = []
    for name, use in reversed(uses.items()):
        path = folder / name
        if use == "leftover":
            with os_errors(path):
                if not path.is_symlink() and path.is_dir():
                    if any(path.iterdir()):
                        continue
                    path.rmdir()
                else:
                    path.unlink(missing_ok=True)
                sync_folder(path.parent)
            swept.append(name)
    return swept


def _is_database(path: str, name: str) -> bool:
    return path == name or (path.startswith(name) and path.removeprefix(name) in LOG_SUFFIXES)
