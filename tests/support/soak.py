"""A reader that never ends, and says how much memory and how many files it uses."""

from __future__ import annotations

import os
import time
from pathlib import Path

import fault_load

from m2m_rag import Database

PAUSE_S = 0.05


def read_on(path: str) -> None:
    """Read and search a database that others write and that its writers are killed in."""
    with Database(path, read_only=True) as database:
        collection = database.open(fault_load.MAIN)
        while True:
            records = collection.get(include_vectors=True)
            if records:
                collection.search([record.vector for record in records[:20]], 3)
            print(f"{resident_kib()} {len(os.listdir('/proc/self/fd'))}", flush=True)
            time.sleep(PAUSE_S)


def resident_kib() -> int:
    """Return the memory that this process has in use."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def disk_bytes(path: Path) -> int:
    """Return what a folder's files take."""
    return sum(found.stat().st_size for found in path.rglob("*") if found.is_file())
