"""Works on a database on a disk of 16 MiB, a tmpfs in a mount namespace of this process's own.

``unshare --map-root-user --mount python small_disk.py FOLDER SEED N_DELETED PERCENT ERASE`` mounts
it on FOLDER, which everybody may do where the system lets users have namespaces.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import fault_load
import numpy as np

from m2m_rag import Database
from m2m_rag.errors import StorageError

DISK_BYTES = 16 << 20
N, D = 6000, 128
COMMAND = ["unshare", "--map-root-user", "--mount"]


def build(path: Path, seed: int, n_deleted: int) -> Database:
    """Return a database with N records, of which the first `n_deleted` are dead."""
    database = Database(path)
    collection = database.create(fault_load.MAIN)
    vectors = np.random.default_rng(seed).normal(size=(N, D)).astype(np.float32)
    for first in range(0, N, 1000):
        rows = range(first, first + 1000)
        collection.add(
            vectors[first : first + 1000],
            ids=map(str, rows),
            texts=[f"text {i} " * 5 for i in rows],
        )
    for first in range(0, n_deleted, 500):
        collection.delete([str(i) for i in range(first, min(first + 500, n_deleted))])
    collection.flush()
    return database


def leave_free(folder: Path, n_bytes: int) -> Path:
    """Fill the disk with a file until only so much is free."""
    filler = folder / "filler"
    with open(filler, "wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, free_bytes(folder) - n_bytes)
    assert abs(free_bytes(folder) - n_bytes) < 1 << 16
    return filler


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def compact(folder: Path, seed: int, n_deleted: int, percent: int, erase: bool) -> None:
    """Compact with so many per cent of the disk free; say what came of it.

    An error of ours leaves every record as it was and the database sound; records can be deleted
    and written then, and compacting works once there is room.
    """
    database = build(folder / "db", seed, n_deleted)
    with database:
        collection = database.open(fault_load.MAIN)
        before = everything(collection)
        filler = leave_free(folder, DISK_BYTES * percent // 100)
        try:
            collection.compact(erase=erase)
            said = "done"
        except StorageError as failure:
            said = str(failure)
        assert said == "done" or "disk is full" in said, said
        assert everything(collection) == before
        assert database.verify().lost == []
        n = collection.count()
        assert collection.delete([str(N - 1)]) == 1
        collection.upsert(np.ones((1, D)), ids=[str(N - 1)])
        filler.unlink()
        collection.compact(erase=True)
        assert collection.stats()["n_dead_rows"] == 0
        assert everything(collection)[: n - 1] == before[: n - 1]
    with Database(folder / "db") as again:
        collection = again.open(fault_load.MAIN)
        assert everything(collection)[: n - 1] == before[: n - 1]
        assert again.verify().is_sound
    print(said, flush=True)


def everything(collection: Any) -> list[tuple]:
    return [
        (record.id, record.text, record.vector.tobytes())
        for record in collection.get(include_vectors=True)
    ]


def main(folder: Path, seed: int, *numbers: int) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(mount, check=True)
    n_deleted, percent, erase = numbers
    compact(folder, seed, n_deleted, percent, bool(erase))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
