r"""The vector file: a 4096-byte header, then float32 rows, nothing else.

===========  ======  ==========================================================
offset       bytes   content (little-endian)
===========  ======  ==========================================================
0            8       magic ``M2MVEC\r\n``
8            4       format version (1)
12           4       header size in bytes (4096)
16           4       dimension d
20           4       element type (1 = float32)
24           8       file number
32           8       generation
40           16      collection id
56           4       rows of a block
60           4032    zero
4092         4       low 32 bits of the XXH3-64 of bytes 0 to 4091
4096         4 d n   rows
===========  ======  ==========================================================

A block is as many whole rows as fit into 64 KiB, at least one. The XXH3-64 of each block's bytes
and the number of committed rows stand in the catalog, so bytes behind the committed rows (of a
write that was cut off) mean nothing, and the next append overwrites them.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import xxhash

from m2m_rag.errors import CorruptError, FormatError

MAGIC = b"M2MVEC\r\n"
VERSION = 1
HEADER_BYTES = 4096
BLOCK_BYTES = 64 << 10
_FLOAT32 = 1
_HEADER = struct.Struct("<8sIIIIQQ16sI")
_CHECKSUM = struct.Struct("<I")


class Header(NamedTuple):
    """What a vector file says of itself."""

    dimension: int
    number: int
    generation: int
    collection: bytes


def block_rows(dimension: int) -> int:
    """Return the rows of a block."""
    return max(1, BLOCK_BYTES // (4 * dimension))


def pack_header(header: Header) -> bytes:
    """Return the header's bytes."""
    packed = _HEADER.pack(
        MAGIC,
        VERSION,
        HEADER_BYTES,
        header.dimension,
        _FLOAT32,
        header.number,
        header.generation,
        header.collection,
        block_rows(header.dimension),
    ).ljust(HEADER_BYTES - _CHECKSUM.size, b"\0")
    return packed + _CHECKSUM.pack(_digest(packed))


def check_header(data: bytes, path: Path, expected: Header) -> None:
    """Raise unless `data` is the header that `expected` describes.

    Raises
    ------
    FormatError
        Not a vector file, or of a newer version.
    CorruptError
        Damaged, or the file of another collection.
    """
    if len(data) < HEADER_BYTES or data[:8] != MAGIC:
        raise FormatError(f"{path} is not a vector file of m2m_rag (its first bytes differ).")
    version = _HEADER.unpack_from(data)[1]
    if data[-_CHECKSUM.size :] != _CHECKSUM.pack(_digest(data[: -_CHECKSUM.size])):
        raise CorruptError(f"{path}: the header does not match its checksum. Restore a backup.")
    if version != VERSION:
        raise FormatError(
            f"{path} has vector format {version}; this version of m2m_rag reads {VERSION}. "
            "Upgrade m2m_rag to open it."
        )
    if data != pack_header(expected):
        raise CorruptError(
            f"{path} belongs elsewhere: its header says {_HEADER.unpack_from(data)[3:8]}, the "
            f"catalog expects {expected}. Restore a backup."
        )


def _digest(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF
