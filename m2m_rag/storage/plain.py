"""What may stand in a database's folder: plain files and folders, under names of our own making.

A folder may come from anyone. A name read from SQLite is checked before it becomes a path, and a
link inside the folder is never followed: what a database reads and writes lies within it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from m2m_rag.errors import CorruptError, FormatError, StorageError

COLLECTIONS_FOLDER = "collections"
VECTORS_FOLDER = "vectors"
INDEX_FOLDER = "index"
FOLDER_NAME = re.compile(r"[0-9a-f]{32}")
"""A collection's folder: the hexadecimal digits of a random UUID."""
OPEN_FLAGS = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)


def collection_folder(database: Path, name: str) -> Path:
    """Return the folder of a collection, whose name stands in the registry.

    Raises
    ------
    CorruptError
        No folder of ours is called so.
    FormatError
        A link stands in its place, or in the place of a folder in it.
    """
    if not isinstance(name, str) or not FOLDER_NAME.fullmatch(name):
        raise CorruptError(
            f"{database}: the registry leads to the folder {name!r:.80}, which is no name of ours "
            "(32 hexadecimal digits). Restore a backup; nothing outside the database was touched."
        )
    folder = database / COLLECTIONS_FOLDER / name
    for path in (folder.parent, folder, folder / VECTORS_FOLDER, folder / INDEX_FOLDER):
        refuse_link(path)
    return folder


def refuse_link(path: Path) -> None:
    """Raise `FormatError` when a link, device or pipe stands at `path`."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be looked at ({error}).") from error
    if not is_plain(found):
        raise FormatError(
            f"{path} is a link, a device or a pipe. A database holds plain files only, so it was "
            "not opened. Replace it by the file itself if you trust it."
        )


def read_plain(path: Path, most_bytes: int) -> bytes:
    """Return a small file, or its beginning; what fails otherwise is an `OSError`.

    Raises
    ------
    FormatError
        A link, a device or a pipe stands in its place.
    """
    refuse_link(path)
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | OPEN_FLAGS)) as stream:
        return stream.read(most_bytes)


def is_plain(found: os.stat_result) -> bool:
    """Tell whether it is the status of a plain file or a folder: no link, device or pipe."""
    return stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)


def walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything below `folder`, links not followed: path from it (by ``/``) and status.

    What goes away meanwhile, as when a collection is dropped, is left out.
    """
    pending = [folder]
    while pending:
        for item in sorted(_entries(pending.pop()), key=lambda item: item.name):
            try:
                found = item.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Path(item.path).relative_to(folder).as_posix(), found
            if stat.S_ISDIR(found.st_mode):
                pending.append(Path(item.path))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{folder} cannot be listed ({error}).") from error
