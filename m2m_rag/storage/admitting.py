"""Which SQLite files are opened: ours, of a format that we read, with checksums and our tables."""

from __future__ import annotations

from pathlib import Path

import apsw

from m2m_rag.errors import CorruptError, FormatError, OldFormatError

CHECKSUM_BYTES = 8
"""At the end of each page; without them nothing is checked."""


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
            f"{path} has format {stored}, the present one is {version}. Open the database "
            "once for writing, Database(path) without read_only: that brings it up to date and "
            "keeps a copy of the old file beside it."
        )


def check_contents(connection: apsw.Connection, path: Path) -> None:
    """Refuse what we never write: views and triggers would run another's SQL."""
    foreign = "SELECT name FROM sqlite_schema WHERE type IN ('view', 'trigger') LIMIT 1"
    found = connection.execute(foreign).get
    if found is not None:
        raise FormatError(f"{path} holds the view or trigger {found!r:.80}, which is not ours.")
    if connection.reserve_bytes("main", -1) != CHECKSUM_BYTES:
        raise CorruptError(
            f"{path}: its pages have no checksums, though we write none without. Restore a backup."
        )
