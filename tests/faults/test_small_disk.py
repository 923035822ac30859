"""F5: compacting on a disk that is nearly full: done, or an error and nothing changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import small_disk
from fault_sizes import LARGE

SEED = 16
MOST = small_disk.N - small_disk.N // 50
"""Records deleted, so that what is left fits into 5 % of the disk."""
SCRIPT = Path(small_disk.__file__)
PERCENT = [*range(1, 30, 2), 40] if LARGE else [1, 5, 16, 40]


@pytest.fixture
def disk(tmp_path):
    """Runs a job on a small disk; returns the last line that it said."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare of util-linux is missing")
    folder = tmp_path / "disk"
    folder.mkdir()

    def run(*numbers):
        command = [*small_disk.COMMAND, sys.executable, str(SCRIPT), str(folder), str(SEED)]
        done = subprocess.run(
            [*command, *map(str, numbers)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "M2M_BACKEND": "numpy"},
        )
        if "unshare failed" in done.stderr:
            pytest.skip(f"this system gives users no namespaces: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    return run


@pytest.mark.parametrize("erase", [False, True])
def test_compacting_with_little_free_space(disk, fault_table, erase):
    said = {percent: disk(small_disk.N // 3, percent, int(erase)) for percent in PERCENT}
    assert said[5] != "done"
    n_full = sum(line != "done" for line in said.values())
    name = "compact(erase=True)" if erase else "compact()"
    fault_table.add(
        "F5", f"{name} with 1 to 40 % of a disk of 16 MiB free", len(said), SEED,
        lost=0, wrong=0, refused=n_full, done=len(said) - n_full,
    )  # fmt: skip


def test_what_fits_is_compacted_with_five_per_cent_free(disk, fault_table):
    assert disk(MOST, 5, 0) == "done"
    fault_table.add("F5", "compact() of a mostly deleted collection, 5 % free", 1, SEED, done=1)
