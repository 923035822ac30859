"""Which SQLite files are opened: ours, of a format that we read, with checksums and our tables."""

from __future__ import annotations

import functools
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from m2m_rag.errors import CorruptError, FormatError, OldFormatError

CHECKSUM_BYTES = 8
"""At the end of each page; without them nothing is checked."""


class Column(NamedTuple):
    """A column of a table: `key` is its place in the primary key, `hidden` not 0 if generated."""

    name: str
    type: str
    key: int
    hidden: int


def check_format(
    connection: apsw.Connection, path: Path, application_id: int, version: int, any_format: bool
) -> None:
    """Refuse another program's file and a newer format; an older one unless `any_format`."""
    found = connection.pragma("application_id")
    if found != application_id:
        raise FormatError(
            f"{path} is a SQLite file, but not one of m2m_rag "
            f"(application id {found}, expected {application_id})."
        )
    stored = connection.pragma("user_version")
    if not isinstance(stored, int) or not 1 <= stored <= version:
        raise FormatError(
            f"{path} has format {stored}; this version of m2m_rag reads formats 1 to "
            f"{version}. Upgrade m2m_rag to open it."
        )
    if stored < version and not any_format:
        raise OldFormatError(
            f"{path} has format {stored}, the present one is {version}. Open the "
            "collection once for writing, Database(path).open(name) without read_only: that brings "
            "it up to date and keeps a copy of the old file beside it."
        )


def check_contents(connection: apsw.Connection, path: Path, version: int, schema: str) -> None:
    """Refuse what we never write: other tables than those of `schema`, views and triggers.

    The tables of an older format than `version` are checked when it has been migrated.

    Our tables are strict, so their columns hold values of their types and no others; views and
    triggers would run another's SQL.
    """
    foreign = "SELECT name FROM sqlite_schema WHERE type IN ('view', 'trigger') LIMIT 1"
    found = connection.execute(foreign).get
    if found is not None:
        raise FormatError(f"{path} holds the view or trigger {found!r:.80}, which is not ours.")
    if connection.reserve_bytes("main", -1) != CHECKSUM_BYTES:
        raise CorruptError(
            f"{path}: its pages have no checksums, though we write none without. Restore a backup."
        )
    if connection.pragma("user_version") != version:
        return
    expected, present = _expected(schema), _tables(connection)
    for table, columns in expected.items():
        if present.get(table) != columns:
            raise CorruptError(
                f"{path}: the table {table!r} is missing or not the one that we write. "
                "Restore a backup."
            )


@functools.cache
def _expected(schema: str) -> dict[str, frozenset[Column]]:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(schema).fetchall()
        return _tables(connection)


def _tables(connection: apsw.Connection) -> dict[str, frozenset[Column]]:
    """Return the columns of each strict table."""
    rows: Any = connection.execute(
        "SELECT t.name, c.name, c.type, c.pk, c.hidden FROM pragma_table_list AS t"
        " JOIN pragma_table_xinfo(t.name) AS c"
        " WHERE t.schema = 'main' AND t.type = 'table' AND t.strict"
    ).fetchall()
    columns: dict[str, set[Column]] = {}
    for table, *column in rows:
        columns.setdefault(table, set()).add(Column(*column))
    return {table: frozenset(found) for table, found in columns.items()}
