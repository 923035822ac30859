"""Backs up and restores a database on disks too small for it, of all sizes up to one that suffices.

``unshare --map-root-user --mount python small_backup.py DATABASE FOLDER`` mounts a tmpfs of each
size on FOLDER, and prints how often there was room and how often not.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from m2m_rag import Database
from m2m_rag.errors import StorageError

COMMAND = ["unshare", "--map-root-user", "--mount"]
STEP_KIB = 12


def main(source: Path, disk: Path) -> None:
    """Try both with STEP_KIB more each time, until three disks in a row have had room for both."""
    n_full = n_done = n_in_a_row = kib = 0
    while n_in_a_row < 3:
        kib += STEP_KIB
        n_in_a_row += 1
        for copy in (back_up, restore):
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)], check=True
            )
            refused = attempt(copy, source, disk / "copy")
            left = [item.name for item in disk.iterdir()]
            subprocess.run(["umount", str(disk)], check=True)
            if refused is None:
                n_done += 1
                continue
            assert type(refused) is StorageError, f"{kib} KiB: {refused!r}"
            assert "the disk is full" in str(refused), f"{kib} KiB: {refused}"
            assert left == []
            n_full += 1
            n_in_a_row = 0
    print(n_full, n_done)


def attempt(copy: Callable[[Path, Path], None], source: Path, path: Path) -> StorageError | None:
    """Return why there was no room, or None."""
    try:
        copy(source, path)
    except StorageError as error:
        return error
    return None


def back_up(source: Path, path: Path) -> None:
    with Database(source, read_only=True) as database:
        database.backup(path)


def restore(source: Path, path: Path) -> None:
    Database.restore(source, path).close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
