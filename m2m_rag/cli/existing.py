"""Databases that a command only looks into: the folder must hold one already."""

from __future__ import annotations

import shlex
from pathlib import Path

from m2m_rag import Database
from m2m_rag.errors import FormatError
from m2m_rag.inputs import as_path
from m2m_rag.storage.folder import is_database


def check_database(path: Path) -> None:
    """Raise `FormatError`, with what to do in a shell, unless the folder holds a database."""
    if not is_database(as_path(path)):
        raise FormatError(
            f"{path} is not a database of m2m_rag. Check the path (--db, or the environment's "
            f"M2M_DB), or make one: m2m ingest DOCUMENTS --db {shlex.quote(str(path))}"
        )


def opened(path: Path) -> Database:
    """Open the database in a folder for reading."""
    check_database(path)
    return Database(path, read_only=True)
