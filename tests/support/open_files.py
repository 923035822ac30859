"""Which files below a folder this process has open or mapped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def open_files(folder: Path) -> set[str]:
    """Return their names, ``"(mapped)"`` behind those that are mapped."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("/proc is missing: this system does not say which files are open")
    root = str(folder.resolve()) + os.sep
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target.startswith(root):
            found.add(target[len(root) :])
    for line in Path("/proc/self/maps").read_text().splitlines():
        _, _, target = line.partition(root)
        if target:
            found.add(target + " (mapped)")
    return found
