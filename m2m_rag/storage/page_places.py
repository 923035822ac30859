r"""The place of each page of a catalog, noted when it is closed: exchanged pages are noticed.

A page's checksum (`m2m_rag.storage.sqlite`) covers what is in the page, neither where it stands nor
how old it is. A disk that writes a page to the wrong place, or not at all, leaves pages whose
checksums are right in a file that is wrong: of 144 exchanges of two pages, 17 changed an answer and
nothing said so. So a catalog that is closed in order gets a file ``catalog.pages`` with a digest of
all its pages' checksums in their order, and opening compares. That takes some 20 ms for 80 MB
(100,000 records); above `MOST_BYTES` only verifying does it.

The note counts for the very commit that it names, while the log is empty; a transaction or a
migration makes it void. The first commit after opening removes it: where an older copy of the
catalog was put back, there may be another commit of its number. It is not synced: a power loss may
take it or leave an older one, which is void, too.

===========  ======  ========================================
offset       bytes   content (little-endian)
===========  ======  ========================================
0            8       magic ``M2MPLC\r\n``
8            16      collection id
24           8       number of the commit
32           8       checksum of page 1, which holds the schema's version
40           8       XXH3-64 of all pages' checksums
48           8       XXH3-64 of bytes 0 to 47
===========  ======  ========================================
"""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import apsw
import numpy as np
import xxhash

from m2m_rag.errors import CorruptError
from m2m_rag.storage.files import os_errors
from m2m_rag.storage.frozen import is_current
from m2m_rag.storage.noting import read_note, write_note

PLACES_FILE = "catalog.pages"
MOST_BYTES = 256 << 20
"""Opening compares catalogs up to this size."""
_MAGIC = b"M2MPLC\r\n"
_NOTE = struct.Struct("<8s16sQQQ")
_STEP_BYTES = 1 << 20
_PLAIN_VFS = "win32" if os.name == "nt" else "unix"
"""The one below the checksums, which would take what is read at once for one page."""

_log = logging.getLogger(__name__)


class _Places(NamedTuple):
    """What the note says of one commit of a collection."""

    collection: bytes
    commit_no: int
    first_page: int
    digest: int


def note_places(connection: apsw.Connection, path: Path) -> None:
    """Bring the log into the file and note its pages, unless somebody else reads or writes it.

    Parameters
    ----------
    connection
        Of the catalog, in no transaction; from now on it waits for nobody.
    path
        The catalog's file.
    """
    connection.set_busy_timeout(0)
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return
    places = _present(connection, path)
    if places is None:
        return
    note = _NOTE.pack(_MAGIC, *places)
    file = path.with_name(PLACES_FILE)
    try:
        write_note(file, note)
    except OSError as error:
        _log.warning("%s was not written, so exchanged pages may go unnoticed: %s", file, error)


def forget_places(path: Path) -> None:
    """Remove the note of the catalog `path`, which is about to be another one."""
    file = path.with_name(PLACES_FILE)
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s could not be removed: %s", file, error)


def check_places(connection: apsw.Connection, path: Path, most_bytes: int | None = None) -> None:
    """Raise when a page is not in the place where the catalog was closed with it.

    Parameters
    ----------
    connection, path
        As for `note_places`.
    most_bytes
        Look at files of at most this size; None for any.

    Raises
    ------
    CorruptError
        Nothing was changed.
    FormatError
        A link, a device or a pipe stands in the note's place.
    """
    noted = _read(path.with_name(PLACES_FILE))
    if noted is None:
        return
    with os_errors(path):
        if most_bytes is not None and path.stat().st_size > most_bytes:
            return
    places = _present(connection, path, noted)
    if places is not None and places != noted and is_current(connection):
        raise CorruptError(
            f"{path} is damaged: its pages are not those, or not in the order, with which it was "
            "closed. Restore a backup. To go on with what is there, delete "
            f"{path.with_name(PLACES_FILE)}, open the database and call verify()."
        )


def _present(
    connection: apsw.Connection, path: Path, noted: _Places | None = None
) -> _Places | None:
    """Look at the file while a transaction keeps others from changing it.

    None when the log is not empty: then the file is not all there is, and may change. None, too,
    when it holds another commit than `noted`, or was written anew since without one, as by a
    migration.
    """
    connection.execute("BEGIN").fetchall()
    try:
        found: Any = connection.execute("SELECT collection, commit_no FROM state").fetchone()
        log = path.with_name(path.name + "-wal")
        if found is None or (log.exists() and log.stat().st_size):
            return None
        collection, commit_no = found
        if noted is not None and (collection, commit_no) != (noted.collection, noted.commit_no):
            return None
        page_bytes = int(str(connection.pragma("page_size")))
        first_page, digest = _digest(path, page_bytes)
        if noted is not None and first_page != noted.first_page:
            return None
        return _Places(collection, commit_no, first_page, digest)
    finally:
        connection.execute("ROLLBACK").fetchall()


def _digest(path: Path, page_bytes: int) -> tuple[int, int]:
    """Return the checksum of the first page, and the digest of all; a page ends with its own.

    The file is read through SQLite's own layer: closing a file of one's own would take the locks
    that this process's connections have on it.
    """
    digest, first_page, at = xxhash.xxh3_64(), 0, 0
    how = [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0]
    file = apsw.VFSFile(_PLAIN_VFS, str(path.absolute()), how)
    try:
        size = file.xFileSize()
        stop = size - size % page_bytes  # a read beyond the end would lose zeros at its own
        while at < stop:
            data = file.xRead(min(_STEP_BYTES, stop - at), at)
            data = data[: len(data) - len(data) % page_bytes]
            if not data:  # it was cut off meanwhile
                break
            checksums = np.frombuffer(data, "<u8").reshape(-1, page_bytes // 8)[:, -1]
            if at == 0:
                first_page = int(checksums[0])
            digest.update(checksums.tobytes())
            at += len(data)
    finally:
        file.xClose()
    return first_page, digest.intdigest()


def _read(file: Path) -> _Places | None:
    note = read_note(file, _NOTE.size)
    if note is None:
        return None
    magic, collection, commit_no, first_page, pages = _NOTE.unpack(note)
    return _Places(collection, commit_no, first_page, pages) if magic == _MAGIC else None
