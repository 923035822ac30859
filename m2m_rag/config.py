"""Limits and settings, and the only place that reads the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

COLLECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A collection's name. It never becomes a path: folders have generated names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one record, one batch and one query may hold; what passes a limit is refused.

    Attributes
    ----------
    id_bytes
        UTF-8 length of an id.
    text_bytes
        UTF-8 length of a text (64 MiB).
    metadata_bytes
        UTF-8 length of a record's metadata as JSON (16 MiB).
    metadata_depth
        Nesting of dictionaries and lists in metadata.
    filter_depth
        Nesting of ``$and``, ``$or`` and ``$not`` in a filter; ``$nor`` counts as two.
    path_bytes
        UTF-8 length of a path, in a filter or a grouping.
    dimension
        Length of a vector.
    max_norm
        Euclidean norm of a vector: squares and products stay finite in float32.
    k
        Results that one query may ask for.
    batch_records
        Records that one call may write.
    rows
        Rows that a collection may hold, dead ones included: the index numbers them by 32 bits.
    """

    id_bytes: int = 512
    text_bytes: int = 64 << 20
    metadata_bytes: int = 16 << 20
    metadata_depth: int = 64
    filter_depth: int = 64
    path_bytes: int = 4096
    dimension: int = 65_536
    max_norm: float = 2.0**60
    k: int = 1_000_000_000
    batch_records: int = 1_000_000
    rows: int = 2**31 - 1


LIMITS = Limits()


def threads() -> int:
    """Return how many threads a large batch may use: ``M2M_THREADS``, or the process's CPUs."""
    asked = os.environ.get("M2M_THREADS", "")
    if asked.isdigit() and int(asked):
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compute_backend() -> str:
    """Return the compute backend's name from ``M2M_BACKEND``, by default ``"auto"``."""
    return os.environ.get("M2M_BACKEND", "auto")
