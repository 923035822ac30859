"""Tables of a catalog that are derived from ``records``: FTS5 indexes that read their texts there.

They are checked against the records, and made again from them; nothing is lost with them. SQLite's
own check of a database file looks into them, too.
"""

from __future__ import annotations

from typing import Any

import apsw

FULL_TEXT_TABLES = ("words",)
"""Full-text indexes that a catalog may hold: FTS5 with ``content='records', content_rowid='row'``,
an entry for each record whose text is not empty. Whoever adds such a table names it here, so that
it is verified, repaired and compacted."""


def full_text_tables(connection: apsw.Connection) -> list[str]:
    """Return those that this catalog holds."""
    rows: Any = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    names = {row[0] for row in rows}
    return [name for name in FULL_TEXT_TABLES if name in names]


def contradictions(connection: apsw.Connection) -> list[str]:
    """Say which indexes hold other rows than the records with a text."""
    found = []
    for table in full_text_tables(connection):
        n_missing = connection.execute(
            "SELECT count(*) FROM records WHERE text <> ''"
            f" AND row NOT IN (SELECT id FROM {table}_docsize)"
        ).get
        n_texts = connection.execute("SELECT count(*) FROM records WHERE text <> ''").get
        n_entries = connection.execute(f"SELECT count(*) FROM {table}_docsize").get
        if n_missing or n_texts != n_entries:
            found.append(f'the full-text index, table "{table}", does not cover the records')
    return found


def rebuild(connection: apsw.Connection) -> int:
    """Make all of them again, within the connection's transaction; return how many there are."""
    tables = full_text_tables(connection)
    for table in tables:
        connection.execute(f"INSERT INTO {table}({table}) VALUES ('delete-all')").fetchall()
        connection.execute(
            f"INSERT INTO {table}(rowid, text) SELECT row, text FROM records WHERE text <> ''"
        ).fetchall()
    return len(tables)
