"""The checksum of stored bytes: XXH3-64, as the signed integer that SQLite holds."""

from __future__ import annotations

import xxhash


def checksum(data: bytes | memoryview) -> int:
    """Return the XXH3-64 of the bytes as a signed 64-bit integer."""
    unsigned: int = xxhash.xxh3_64_intdigest(data)
    return unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned
