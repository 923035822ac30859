r"""The last acknowledged commit, noted beside the catalog: so a log that was cut short is noticed.

SQLite ends its log (``-wal``) silently at the first frame that is damaged, and opens as if the
commits behind it had never been. So each commit's number is written, after the commit is on disk,
to the file ``catalog.commit``; a catalog that ends before that number has lost commits that were
acknowledged, be it to a flipped bit, a log that was deleted, or an older copy put in its place.

The note itself is not synced, which would cost as much as the commit: after a power loss it may
name an older commit, or nothing, and then notices less. It is written after the commit is on disk,
so it never names one that power loss may take.

===========  ======  ========================================
offset       bytes   content (little-endian)
===========  ======  ========================================
0            8       magic ``M2MCMT\r\n``
8            16      collection id
24           8       number of the commit
32           8       XXH3-64 of bytes 0 to 31
===========  ======  ========================================
"""

from __future__ import annotations

import logging
import struct
from pathlib import Path
from typing import NamedTuple

import apsw

from m2m_rag.errors import CorruptError
from m2m_rag.storage.noting import read_note, write_note

COMMIT_FILE = "catalog.commit"
_MAGIC = b"M2MCMT\r\n"
_NOTE = struct.Struct("<8s16sQ")

_log = logging.getLogger(__name__)


class Noted(NamedTuple):
    """What the file says: this commit of this collection was acknowledged."""

    collection: bytes
    commit_no: int


class Acknowledged:
    """The note beside the catalog in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / COMMIT_FILE

    def note(self, collection: bytes, commit_no: int) -> None:
        """Note a commit that is on disk. That this fails takes nothing from the commit."""
        note = _NOTE.pack(_MAGIC, collection, commit_no)
        try:
            write_note(self._path, note)
        except OSError as error:
            _log.warning("%s was not written, so it notices less: %s", self._path, error)

    def read(self) -> Noted | None:
        """Return the note; None when there is none, or power loss left it unfinished.

        Raises
        ------
        FormatError
            A link, a device or a pipe stands in its place.
        """
        note = read_note(self._path, _NOTE.size)
        if note is None:
            return None
        magic, collection, commit_no = _NOTE.unpack(note)
        return Noted(collection, commit_no) if magic == _MAGIC else None

    def check(self, noted: Noted | None, connection: apsw.Connection) -> None:
        """Raise when the catalog ends before the commit that was noted, read before it was opened.

        Raises
        ------
        CorruptError
            The connection then leaves the log as it is, for whoever can read more of it.
        """
        if noted is None:
            return
        found: tuple[bytes, int] | None = connection.execute(
            "SELECT collection, commit_no FROM state"
        ).get
        if found is None or found[0] != noted.collection or found[1] >= noted.commit_no:
            return
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        raise CorruptError(
            f"{self._path.with_name('catalog.sqlite')} ends with commit {found[1]}, but commit "
            f"{noted.commit_no} was acknowledged: its log (catalog.sqlite-wal) is damaged or gone, "
            "or the file is an older copy. Restore a backup. To go on from the older state, "
            f"delete {self._path}."
        )
