"""Noticing a database file that was cut off within a page.

SQLite refuses a file that lacks whole pages, but what lacks of its last page it takes for zeros,
and the checksum of a page is not looked at when the page is short.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from m2m_rag.errors import CorruptError
from m2m_rag.storage.files import os_errors


def check_whole_pages(connection: apsw.Connection, path: Path) -> None:
    """Raise when the file ends within a page.

    A crash while the log was brought into the file may leave such an end: then the log holds the
    page, and bringing it in again mends the file.

    Raises
    ------
    CorruptError
        The file is cut off.
    """
    size = connection.pragma("page_size")
    with os_errors(path):
        if not path.stat().st_size % size:
            return
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        if path.stat().st_size % size:
            raise CorruptError(
                f"{path} is cut off: it ends within a page of {size} bytes. Restore a backup."
            )
