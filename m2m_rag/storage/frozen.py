"""Connections to a database file, also where nothing may be written beside it.

SQLite keeps a log and its index beside the file, so it cannot read in a folder that may not be
written, unless it is told that the file does not change (``immutable``). It is told so only when
the folder may not be written and there is no log; then whoever may write could begin to, so a
connection of this kind is looked at before and after each use.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import apsw

from m2m_rag.errors import StorageError


class FrozenConnection(apsw.Connection):
    """Reads a file as it was when it was opened."""

    path: Path
    seen: tuple[int, ...]


def connect(path: Path, vfs: str) -> apsw.Connection:
    """Open a database file that exists, through the file system `vfs`."""
    if os.access(path.parent, os.W_OK) or not path.exists() or _has_log(path):
        return apsw.Connection(str(path), vfs=vfs, flags=apsw.SQLITE_OPEN_READWRITE)
    seen = _signature(path)
    connection = FrozenConnection(
        f"file:{quote(str(path.absolute()))}?immutable=1",
        vfs=vfs,
        flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
    )
    connection.path, connection.seen = path, seen
    return connection


def is_current(connection: apsw.Connection) -> bool:
    """Tell whether the connection still reads what is stored."""
    if not isinstance(connection, FrozenConnection):
        return True
    return not _has_log(connection.path) and _signature(connection.path) == connection.seen


def check_current(connection: apsw.Connection) -> None:
    """Raise when the file was changed while it was read.

    Raises
    ------
    StorageError
        What was read may be of two commits.
    """
    if not is_current(connection):
        raise StorageError(
            f"{connection.filename} was changed while it was read from a folder that may not be "
            "written, where SQLite cannot tell readers of writers. Try again."
        )


def _has_log(path: Path) -> bool:
    try:
        return path.with_name(path.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def _signature(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
