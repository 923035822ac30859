"""The database's registry: which collection lives in which folder (``database.sqlite``).

Table ``collections(name, folder, created_s)``. A collection's folder is complete and on disk before
its name is committed here, and its name is gone from here before its folder is removed; a folder
that no name leads to is the leftover of an interrupted create or drop.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import apsw

from m2m_rag.storage.pool import ConnectionPool
from m2m_rag.storage.sqlite import (
    DatabaseKind,
    create_database,
    open_database,
    translated,
)

REGISTRY_FILE = "database.sqlite"
KIND = DatabaseKind(
    application_id=0x4D324D44,  # "M2MD"
    version=1,
    schema="CREATE TABLE collections("
    "name TEXT PRIMARY KEY, folder TEXT NOT NULL UNIQUE, created_s REAL NOT NULL"
    ") STRICT, WITHOUT ROWID",
)


def create_registry(folder: Path) -> None:
    """Create the registry of a new database: the moment at which the folder becomes one."""
    create_database(folder / REGISTRY_FILE, KIND)


class Registry:
    """Names and folders of the collections.

    Parameters
    ----------
    folder
        The database's folder, or None for a database in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / REGISTRY_FILE
        self._pool = ConnectionPool(self._connect, single=folder is None)

    def folder_of(self, name: str) -> str | None:
        """Return the folder of the collection `name`, or None."""
        with translated(self._path), self._pool.connection() as connection:
            found = connection.execute("SELECT folder FROM collections WHERE name = ?", (name,)).get
        return None if found is None else str(found)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        with translated(self._path), self._pool.connection() as connection:
            rows = connection.execute("SELECT name FROM collections ORDER BY name").fetchall()
        return [str(row[0]) for row in rows]

    def add(self, name: str, folder: str) -> bool:
        """Commit a new name, durably; return False when it is taken."""
        with translated(self._path), self._pool.connection() as connection:
            connection.execute(
                "INSERT INTO collections VALUES (?, ?, ?) ON CONFLICT(name) DO NOTHING",
                (name, folder, time.time()),
            ).fetchall()
            is_new = connection.changes() == 1
            _empty_log(connection)
            return is_new

    def remove(self, name: str, folder: str) -> None:
        """Forget a name, durably, unless it leads to another folder by now."""
        with translated(self._path), self._pool.connection() as connection:
            connection.execute(
                "DELETE FROM collections WHERE name = ? AND folder = ?", (name, folder)
            ).fetchall()
            _empty_log(connection)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def _connect(self) -> apsw.Connection:
        return open_database(self._path, KIND)


def _empty_log(connection: apsw.Connection) -> None:
    """Bring what was committed into the file, whose pages have checksums.

    SQLite ends a damaged log silently, and a name that is only there would be lost. When a reader
    is in the way, or it fails, the log keeps the commit, as it does anyway.
    """
    with suppress(apsw.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
