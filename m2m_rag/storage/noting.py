"""Notes beside a catalog: small files of one write with a checksum, never synced.

A note that power loss left unfinished counts as none.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import xxhash

from m2m_rag.errors import M2MError
from m2m_rag.storage.plain import OPEN_FLAGS, read_plain

_CHECKSUM = struct.Struct("<Q")
_FLAGS = os.O_RDWR | os.O_CREAT | OPEN_FLAGS


def write_note(path: Path, note: bytes) -> None:
    """Write a note over one of the same length, if there is one; what fails is an `OSError`."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        os.write(descriptor, note + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(note)))
    finally:
        os.close(descriptor)


def read_note(path: Path, n_bytes: int) -> bytes | None:
    """Return a note of that length; None when there is none, or it is not whole.

    Raises
    ------
    FormatError
        A link, a device or a pipe stands in its place.
    """
    try:
        data = read_plain(path, n_bytes + _CHECKSUM.size + 1)
    except M2MError:
        raise
    except OSError:
        return None
    note, checksum = data[:n_bytes], data[n_bytes:]
    return note if checksum == _CHECKSUM.pack(xxhash.xxh3_64_intdigest(note)) else None
