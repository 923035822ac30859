"""What SQL may do on the connections that calls use: nothing beyond this one database.

No statement is built from what users give. Should one be, all the same, or come out of a hostile
file, it opens no other file and loads no code: SQLite asks here while it compiles a statement.
"""

from __future__ import annotations

import apsw

PRAGMAS = frozenset({
    "application_id", "data_version", "integrity_check", "page_size", "synchronous",
    "user_version", "wal_checkpoint",
})  # fmt: skip
"""Those that our own statements, and the full-text index, need."""


def guard(connection: apsw.Connection) -> apsw.Connection:
    """Refuse other files, extensions and settings from now on; return the connection."""
    connection.authorizer = _decide
    return connection


def _decide(
    action: int, one: str | None, two: str | None, schema: str | None, trigger: str | None
) -> int:
    is_refused = (
        action in (apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH)
        or (action == apsw.SQLITE_FUNCTION and two == "load_extension")
        or (action == apsw.SQLITE_PRAGMA and str(one).lower() not in PRAGMAS)
    )
    return int(apsw.SQLITE_DENY if is_refused else apsw.SQLITE_OK)
