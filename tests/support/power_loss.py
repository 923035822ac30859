"""Power loss without cutting power: a run's system calls, replayed, with what was not synced lost.

`record` runs steps of the load under strace. `crashes` replays the log and yields, after every call
that changed a file or a name, what a disk may hold when the power goes then. What counts as on disk
is the least that POSIX promises: a file's bytes after fsync or fdatasync of the file, a name after
fsync of its folder (see `replayed_disk`). Everything else may be there or not:

drop            nothing that was not synced
names           all names, no bytes that were not synced
zeros           all names and sizes, zeros where bytes were not synced
torn            everything but the second half of the last write
all             everything (a crash of the process only)
subset          names of some folders; of each file some unsynced writes, whole or some sectors

SQLite's ``-shm`` files are left out: they are mapped, and rebuilt by the first to open. No other
file may be written through a map, for strace would not see it; the replay fails when one is.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import xxhash
from replayed_disk import (
    DESCRIPTOR,
    STRING,
    Call,
    Disk,
    Entries,
    File,
    Folder,
    Tree,
    apply,
    text_of,
)

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,sync_file_range,"
    "ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "link,linkat,symlink,symlinkat,sendfile,copy_file_range,mmap"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|0x\w+)(?:<(.*)>)?", re.DOTALL)
_UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_SECTOR = 512


def record(path: Path, log: Path, load: str, *arguments: int | str, backend: str = "numpy") -> None:
    """Run a load (``module.function(path, *arguments)``) at a path under strace."""
    script = f"import {load.partition('.')[0]}; {load}{(str(path), *arguments)!r}"
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", log,
         sys.executable, "-c", script],
        check=True, stdout=subprocess.PIPE,
        env={**os.environ, "M2M_BACKEND": backend}, cwd=Path(__file__).parent,
    )  # fmt: skip


def read_log(log: Path) -> Iterator[Call]:
    """Yield the calls that succeeded; the two halves of an interrupted one are joined."""
    halves: dict[str, str] = {}
    with open(log, encoding="ascii") as lines:
        for whole in lines:
            line = whole.rstrip("\n")
            if half := _UNFINISHED.match(line):
                halves[half[1]] = half[2]
                continue
            if rest := _RESUMED.match(line):
                line = f"{rest[1]} {halves.pop(rest[1])}{rest[2]}"
            if (found := _LINE.match(line)) and not found[4].startswith("-"):
                yield Call(found[2], found[3], int(found[4], 0), text_of(found[5] or ""))


def count_syncs(log: Path, ending: str) -> int:
    """Return how often files whose paths end so were synced."""
    calls = [call for call in read_log(log) if call.name in ("fsync", "fdatasync")]
    paths = [text_of(DESCRIPTOR.match(call.arguments)[2] or "") for call in calls]
    return sum(path.endswith(ending) for path in paths)


class Crash(NamedTuple):
    """What a disk may hold, and which steps had returned."""

    kind: str
    acknowledged: tuple[int, ...]
    n_calls: int
    tree: Tree


def crashes(
    log: Path,
    root: Path,
    seed: int,
    n_subsets: int,
    before: Path | None = None,
    lost_syncs: tuple[str, ...] = (),
) -> Iterator[Crash]:
    """Yield the states that power loss may leave, after each call that changed something.

    Parameters
    ----------
    log, root
        What was recorded, at which path.
    seed, n_subsets
        How many subsets of what was not synced are tried each time, and which.
    before, lost_syncs
        See `replayed_disk.Disk`.
    """
    disk, rng = Disk(str(root), before, lost_syncs), random.Random(seed)
    acknowledged: tuple[int, ...] = ()
    n_calls = 0
    for call in read_log(log):
        if call.name == "write" and call.arguments.startswith("1<"):
            word = text_of(STRING.search(call.arguments)[1]).strip()
            if word.isdigit():
                acknowledged += (int(word),)
            continue
        if not disk.take(call):
            continue
        n_calls += 1
        for kind, tree in _states(disk, rng, n_subsets):
            yield Crash(kind, acknowledged, n_calls, tree)


def distinct(
    log: Path,
    root: Path,
    seed: int,
    n_subsets: int,
    before: Path | None = None,
    lost_syncs: tuple[str, ...] = (),
) -> Iterator[Crash]:
    """Yield each state once: the same bytes with the same acknowledgements are one state."""
    seen = set()
    for crash in crashes(log, root, seed, n_subsets, before, lost_syncs):
        digest = xxhash.xxh3_128()
        for path, content in crash.tree.items():
            digest.update(f"{path}\0{type(content)}\0".encode())
            digest.update(content.encode() if isinstance(content, str) else content or b"")
        key = (crash.acknowledged, digest.digest())
        if key not in seen:
            seen.add(key)
            yield crash


def _states(disk: Disk, rng: random.Random, n_subsets: int) -> Iterator[tuple[str, Tree]]:
    def durable(file: File) -> bytes:
        return file.durable

    def zeros(file: File) -> bytes:
        size = len(file.now)
        return file.durable[:size].ljust(size, b"\0")

    def now(file: File) -> bytes:
        return bytes(file.now)

    def all_names(folder: Folder) -> Entries:
        return folder.now

    yield "drop", disk.tree(lambda folder: folder.durable, durable)
    yield "names", disk.tree(all_names, durable)
    yield "zeros", disk.tree(all_names, zeros)
    yield "all", disk.tree(all_names, now)
    last = disk.last
    if last is not None and last.pending:
        torn = _torn(last)
        yield "torn", disk.tree(all_names, lambda file: torn if file is last else now(file))
    for _ in range(n_subsets):
        yield (
            "subset",
            disk.tree(
                lambda folder: folder.now if rng.random() < 0.5 else folder.durable,
                lambda file: _some(file, rng),
            ),
        )


def _torn(file: File) -> bytes:
    """Return all but the second half of the last write."""
    content = bytearray(file.durable)
    for place, data in file.pending[:-1]:
        apply(content, place, data)
    place, data = file.pending[-1]
    if data is not None:
        apply(content, place, data[: len(data) // 2])
    return bytes(content)


def _some(file: File, rng: random.Random) -> bytes:
    """Return what is on disk with some of the unsynced changes, some of those in parts."""
    content = bytearray(file.durable)
    for place, data in file.pending:
        choice = rng.randrange(4)
        if data is None or choice == 0:
            if choice % 2 == 0:
                apply(content, place, data)
        elif choice == 1:
            for start in range(0, len(data), _SECTOR):
                if rng.random() < 0.5:
                    apply(content, place + start, data[start : start + _SECTOR])
        elif choice == 2:
            apply(content, place, data)
    return bytes(content)


def put(tree: Tree, root: Path, to: Path) -> None:
    """Write a state's files to the folder `to`, which stands for `root`."""
    for path, content in tree.items():
        place = to / os.path.relpath(path, root)
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        elif isinstance(content, str):
            place.hardlink_to(to / os.path.relpath(content, root))
        else:
            place.write_bytes(content)
