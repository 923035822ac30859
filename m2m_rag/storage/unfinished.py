"""New folders that appear whole or not at all, and what a killed process left of one.

A folder for `path` is made as ``<path>.<8 hexadecimal digits>.new`` and renamed when it is
complete. As long as it is being made, its process holds a lock on it, which ends with the process;
so the next to make a folder for the same path can tell what was left behind, and removes that.
Windows locks no folders, and some network file systems do not either: there such folders stay, and
may be deleted by hand.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2m_rag.errors import M2MError, StorageError
from m2m_rag.storage.files import os_errors, private_folder, sync_folder
from m2m_rag.storage.leftovers import use_in_collection, use_in_database
from m2m_rag.storage.lock import HOLDER_FILE, LOCK_FILE
from m2m_rag.storage.plain import COLLECTIONS_FOLDER, is_plain, walk

_SUFFIX = r"\.[0-9a-f]{8}\.new"


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Lend a new folder that stands at `path` when the block ends, whole; or not at all.

    Raises
    ------
    StorageError
        Something stands at the path; or the file system refused something, also in the block.
    """
    if os.path.lexists(path):
        raise StorageError(f"{path} exists. Choose a new folder; nothing is ever overwritten.")
    with os_errors(path):
        private_folder(path.parent)
    remove_abandoned(path)
    with os_errors(path):
        unfinished, lock = _make(path)
    try:
        with os_errors(path):
            yield unfinished
            if os.path.lexists(path):
                raise StorageError(f"{path} exists by now; nothing was written.")
            _rename(unfinished, path)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    finally:
        _close(lock)


def _rename(unfinished: Path, path: Path) -> None:
    """Rename a folder for good, or not at all."""
    os.rename(unfinished, path)
    try:
        sync_folder(path.parent)
    except BaseException:
        os.rename(path, unfinished)
        raise


def remove_abandoned(path: Path) -> list[Path]:
    """Remove what processes that were killed have left of a folder for `path`; return it.

    Only folders under our names that nobody holds, that hold nothing but names of a database, and
    that nobody has written to as one: a database that is in use may be called so.
    """
    pattern = re.compile(re.escape(path.name) + _SUFFIX)
    removed = []
    with os_errors(path):
        candidates = [item for item in path.parent.iterdir() if pattern.fullmatch(item.name)]
    for folder in candidates:
        lock = _lock(folder, waits=False)
        try:
            if lock is not None and _is_ours(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        finally:
            _close(lock)
    return removed


def _make(path: Path) -> tuple[Path, int | None]:
    """Make a folder and lock it, where the file system can."""
    while True:
        folder = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.new")
        folder.mkdir(mode=0o700)
        lock = _lock(folder, waits=True)
        if folder.exists():
            return folder, lock
        _close(lock)  # another process took it for abandoned before it was locked


def _is_ours(folder: Path) -> bool:
    try:
        return all(is_plain(found) and _is_written(name) for name, found in walk(folder))
    except M2MError:
        return False


def _is_written(name: str) -> bool:
    """Tell whether a backup or a restore writes something of that name, from its folder."""
    parts = name.split("/", 2)
    if parts[0] == COLLECTIONS_FOLDER and len(parts) > 2:
        return use_in_collection(parts[2], 0, ()) != "foreign"
    return name not in (LOCK_FILE, HOLDER_FILE) and use_in_database(name, ()) != "foreign"


def _lock(folder: Path, *, waits: bool) -> int | None:
    """Return a descriptor that holds a folder's lock; None when it cannot be had."""
    if sys.platform == "win32":
        return None
    import fcntl

    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except OSError:
        _close(descriptor)
        return None
    return descriptor


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
