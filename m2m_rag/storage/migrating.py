"""Migrations: what brings a catalog of an older format up to date, step by step.

Before the first step the old catalog is copied beside itself as ``catalog.sqlite.v<format>``, on
disk; then all steps and their check run in one transaction. So a process that ends in the middle
leaves the old catalog as it was, and other processes that have it open never see a file change
under them, as they would if a migrated copy were renamed over it (SQLite keeps its log by name).
The copy goes with the next compaction: vector files are only appended to until then, so it stays a
whole collection of its own. To go back, put it in the catalog's place while nobody has it open,
and delete ``catalog.commit``, which says that more was committed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import apsw

from m2m_rag._forking import ForkSafeLock
from m2m_rag.errors import CorruptError
from m2m_rag.storage.admitting import check_contents
from m2m_rag.storage.files import sync_file, sync_folder
from m2m_rag.storage.plain import refuse_link
from m2m_rag.storage.sqlite import DatabaseKind, copy_database, opened

Step: TypeAlias = Callable[[apsw.Connection], None]


def _to_2(connection: apsw.Connection) -> None:
    """Bring full-text search, records that expire, and the commit that changed a record."""
    connection.execute(
        "ALTER TABLE state ADD COLUMN tokenizer TEXT;"
        "ALTER TABLE state ADD COLUMN next_expiry_us INTEGER;"
        "ALTER TABLE records ADD COLUMN expires_us INTEGER;"
        "ALTER TABLE records ADD COLUMN changed INTEGER;"
        "CREATE INDEX records_by_expiry ON records(expires_us) WHERE expires_us IS NOT NULL;"
        "CREATE INDEX records_by_change ON records(changed) WHERE changed IS NOT NULL;"
        "UPDATE state SET tokenizer = 'unicode61';"
        "CREATE VIRTUAL TABLE words USING fts5(text, content='records', content_rowid='row',"
        " tokenize='unicode61 remove_diacritics 2');"
        "INSERT INTO words(rowid, text) SELECT row, text FROM records WHERE text <> ''"
    ).fetchall()


CATALOG_STEPS: Mapping[int, Step] = MappingProxyType({1: _to_2})
"""What leads from a format of the catalog to the next, by the older one's number.

A step is history: it says in SQL what the next format's first version brought, and is never changed
afterwards, nor built from constants of the code that may change.
"""


_migrating = ForkSafeLock()
"""Threads of one process share the writer lock, so here they take turns."""


def migrate(path: Path, kind: DatabaseKind, steps: Mapping[int, Step]) -> int:
    """Bring a database file up to `kind.version`; return the format that it had.

    The caller holds the writer lock.

    Parameters
    ----------
    path, kind
        Which file, and what it is to be.
    steps
        One for each format from 1 to the one before `kind.version`.

    Raises
    ------
    CorruptError
        The file is damaged; nothing was changed.
    """
    with _migrating:
        old = _stored_format(path, kind)
        if old < kind.version:
            _migrate(path, kind, steps, old)
    return old


def _migrate(path: Path, kind: DatabaseKind, steps: Mapping[int, Step], old: int) -> None:
    with opened(path, kind, any_format=True) as connection:
        keep_copy(connection, path.with_name(f"{path.name}.v{old}"))
        connection.execute("BEGIN IMMEDIATE").fetchall()
        try:
            for number in range(old, kind.version):
                steps[number](connection)
            connection.pragma("user_version", kind.version)
            check_contents(connection, path, kind.version, kind.schema)
            _check(connection, path)
            connection.execute("COMMIT").fetchall()
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK").fetchall()
            raise


def keep_copy(connection: apsw.Connection, path: Path) -> None:
    """Copy a database to a file, which appears whole and on disk, or not at all."""
    unfinished = path.with_name(path.name + ".new")
    refuse_link(unfinished)
    unfinished.unlink(missing_ok=True)
    copy_database(connection, unfinished)
    sync_file(unfinished)
    os.replace(unfinished, path)
    sync_folder(path.parent)


def _stored_format(path: Path, kind: DatabaseKind) -> int:
    """Return the format of a file, which is at most the present one."""
    with opened(path, kind, any_format=True) as connection:
        found = connection.pragma("user_version")
    return int(str(found))


def _check(connection: apsw.Connection, path: Path) -> None:
    problem = connection.execute("PRAGMA integrity_check(1)").get
    if problem != "ok":
        raise CorruptError(
            f"{path} could not be migrated: {problem}. Nothing was changed. Restore a backup."
        )
