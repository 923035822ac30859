"""Power loss without cutting power: a run's system calls, replayed, with what was not synced lost.

`record` runs steps of the load under strace. `crashes` replays the log and yields, after every call
that changed a file or a name, what a disk may hold when the power goes then. What counts as on disk
is the least that POSIX promises: a file's bytes after fsync or fdatasync of the file, a name after
fsync of its folder. Everything else may be there or not:

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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import xxhash

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,fsync,fdatasync,sync_file_range,"
    "ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "link,linkat,symlink,symlinkat,sendfile,copy_file_range,mmap"
)
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+|0x\w+)(?:<(.*)>)?", re.DOTALL)
_UNFINISHED = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>)?")
_SECTOR = 512
FOLDER = -1
"""Stands for a folder where a file has the number of its inode."""
Tree = dict[str, bytes | None]
"""A state of a disk: bytes by path, None for a folder."""


def record(path: Path, log: Path, load: str, *arguments: int | str) -> None:
    """Run a load (``module.function(path, *arguments)``) in a new database under strace."""
    script = f"import {load.partition('.')[0]}; {load}{(str(path), *arguments)!r}"
    subprocess.run(
        ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", log,
         sys.executable, "-c", script],
        check=True, stdout=subprocess.PIPE,
        env={**os.environ, "M2M_BACKEND": "numpy"}, cwd=Path(__file__).parent,
    )  # fmt: skip


class Call(NamedTuple):
    """A system call that returned."""

    name: str
    arguments: str
    result: int
    opened: str


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
                yield Call(found[2], found[3], int(found[4], 0), _text(found[5] or ""))


def count_syncs(log: Path, ending: str) -> int:
    """Return how often files whose paths end so were synced."""
    calls = [call for call in read_log(log) if call.name in ("fsync", "fdatasync")]
    return sum(_text(_DESCRIPTOR.match(call.arguments)[2] or "").endswith(ending) for call in calls)


class File:
    """A file's bytes: now, on disk, and the changes in between.

    A change is an offset and bytes, or a new length and None.
    """

    def __init__(self) -> None:
        self.now = bytearray()
        self.durable = b""
        self.pending: list[tuple[int, bytes | None]] = []

    def change(self, place: int, data: bytes | None) -> None:
        apply(self.now, place, data)
        self.pending.append((place, data))

    def sync(self) -> None:
        self.durable = bytes(self.now)
        self.pending.clear()


def apply(content: bytearray, place: int, data: bytes | None) -> None:
    """Do one change."""
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    if data is None:
        del content[place:]
    else:
        content[place : place + len(data)] = data


class Disk:
    """The files and names under a root, and what of them is on disk."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: list[File] = []
        self.names: dict[str, int] = {}
        self.durable: dict[str, int] = {}
        self.positions: dict[int, int] = {}
        self.last: File | None = None

    def holds(self, path: str) -> bool:
        return (path == self.root or path.startswith(self.root + "/")) and not path.endswith("-shm")

    def file(self, path: str) -> File | None:
        number = self.names.get(path, FOLDER)
        return None if number == FOLDER else self.files[number]

    def tree(self, names: dict[str, int], content: Callable[[int], bytes]) -> Tree:
        """Return the files and folders that the names lead to."""
        tree: Tree = {}
        for path in sorted(names):
            if path == self.root or os.path.dirname(path) in tree:
                tree[path] = None if names[path] == FOLDER else content(names[path])
        return tree

    def take(self, call: Call) -> bool:
        """Do a call; return whether it changed anything."""
        strings = [
            bytes.fromhex(text.replace("\\x", "")) for text in _STRING.findall(call.arguments)
        ]
        found = _DESCRIPTOR.match(call.arguments)
        descriptor = int(found[1]) if found and found[1].isdigit() else -1
        at = _text(found[2] or "") if found else ""
        paths = [os.path.normpath(os.path.join(at, os.fsdecode(text))) for text in strings]
        return getattr(self, "_" + call.name, self._unknown)(call, descriptor, at, strings, paths)

    def _unknown(self, call, descriptor, at, strings, paths) -> bool:
        assert not any(self.holds(path) for path in (at, *paths)), f"{call.name} is not replayed"
        return False

    def _openat(self, call, descriptor, at, strings, paths) -> bool:
        path = call.opened or paths[0]
        self.positions[call.result] = 0
        if not self.holds(path):
            return False
        assert "O_APPEND" not in call.arguments
        if path not in self.names:
            if "O_CREAT" not in call.arguments:
                return False
            self.files.append(File())
            self.names[path] = len(self.files) - 1
            return True
        if "O_TRUNC" in call.arguments:
            return self._change(path, 0, None)
        return False

    _open = _openat

    def _write(self, call, descriptor, at, strings, paths) -> bool:
        place = self.positions.get(descriptor, 0)
        self.positions[descriptor] = place + call.result
        return self._change(at, place, strings[0][: call.result])

    def _pwrite64(self, call, descriptor, at, strings, paths) -> bool:
        return self._change(at, int(call.arguments.rsplit(", ", 1)[1]), strings[0][: call.result])

    def _lseek(self, call, descriptor, at, strings, paths) -> bool:
        self.positions[descriptor] = call.result
        return False

    def _ftruncate(self, call, descriptor, at, strings, paths) -> bool:
        return self._change(at, int(call.arguments.rsplit(", ", 1)[1]), None)

    def _change(self, path: str, place: int, data: bytes | None) -> bool:
        file = self.file(path) if self.holds(path) else None
        if file is None:
            return False
        file.change(place, data)
        self.last = file
        return True

    def _fsync(self, call, descriptor, at, strings, paths) -> bool:
        if file := self.file(at):
            file.sync()
            return True
        kept = {path: n for path, n in self.durable.items() if os.path.dirname(path) != at}
        inside = {path: n for path, n in self.names.items() if os.path.dirname(path) == at}
        self.durable = kept | inside
        return True

    _fdatasync = _fsync

    def _mkdir(self, call, descriptor, at, strings, paths) -> bool:
        if self.holds(paths[0]):
            self.names[paths[0]] = FOLDER
        return self.holds(paths[0])

    _mkdirat = _mkdir

    def _rename(self, call, descriptor, at, strings, paths) -> bool:
        if self.holds(paths[0]):
            self.names[paths[1]] = self.names.pop(paths[0])
        return self.holds(paths[0])

    def _unlink(self, call, descriptor, at, strings, paths) -> bool:
        return self.names.pop(paths[0], None) is not None

    _unlinkat = _rmdir = _unlink

    def _mmap(self, call, descriptor, at, strings, paths) -> bool:
        fields = call.arguments.split(", ")
        path = _text(_DESCRIPTOR.match(fields[4])[2] or "")
        is_written = "PROT_WRITE" in fields[2] and "MAP_SHARED" in fields[3]
        assert not (is_written and self.holds(path)), f"{path} is written through a map"
        return False


class Crash(NamedTuple):
    """What a disk may hold: bytes by path (None for a folder), and which steps had returned."""

    kind: str
    acknowledged: tuple[int, ...]
    n_calls: int
    tree: Tree


def crashes(log: Path, root: Path, seed: int, n_subsets: int) -> Iterator[Crash]:
    """Yield the states that power loss may leave, after each call that changed something."""
    disk, rng = Disk(str(root)), random.Random(seed)
    acknowledged: tuple[int, ...] = ()
    n_calls = 0
    for call in read_log(log):
        if call.name == "write" and call.arguments.startswith("1<"):
            word = _text(_STRING.search(call.arguments)[1]).strip()
            if word.isdigit():
                acknowledged += (int(word),)
            continue
        if not disk.take(call):
            continue
        n_calls += 1
        for kind, tree in _states(disk, rng, n_subsets):
            yield Crash(kind, acknowledged, n_calls, tree)


def distinct(log: Path, root: Path, seed: int, n_subsets: int) -> Iterator[Crash]:
    """Yield each state once: the same bytes with the same acknowledgements are one state."""
    seen = set()
    for crash in crashes(log, root, seed, n_subsets):
        digest = xxhash.xxh3_128()
        for path, content in crash.tree.items():
            digest.update(f"{path}\0{content is None}\0".encode())
            digest.update(content or b"")
        key = (crash.acknowledged, digest.digest())
        if key not in seen:
            seen.add(key)
            yield crash


def _states(disk: Disk, rng: random.Random, n_subsets: int) -> Iterator[tuple[str, Tree]]:
    files = disk.files

    def durable(number: int) -> bytes:
        return files[number].durable

    def zeros(number: int) -> bytes:
        size = len(files[number].now)
        return files[number].durable[:size].ljust(size, b"\0")

    def now(number: int) -> bytes:
        return bytes(files[number].now)

    yield "drop", disk.tree(disk.durable, durable)
    yield "names", disk.tree(disk.names, durable)
    yield "zeros", disk.tree(disk.names, zeros)
    yield "all", disk.tree(disk.names, now)
    last = disk.last
    if last is not None and last.pending:
        torn = bytearray(last.durable)
        for place, data in last.pending[:-1]:
            apply(torn, place, data)
        place, data = last.pending[-1]
        if data is not None:
            apply(torn, place, data[: len(data) // 2])
        yield (
            "torn",
            disk.tree(disk.names, lambda n: bytes(torn) if files[n] is last else now(n)),
        )
    for _ in range(n_subsets):
        folders = {os.path.dirname(path) for path in (*disk.names, *disk.durable)}
        kept = {folder for folder in sorted(folders) if rng.random() < 0.5}
        names = {p: number for p, number in disk.names.items() if os.path.dirname(p) in kept}
        names |= {p: number for p, number in disk.durable.items() if os.path.dirname(p) not in kept}
        yield "subset", disk.tree(names, lambda number: _some(files[number], rng))


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
        else:
            place.write_bytes(content)


def _text(hexadecimal: str) -> str:
    if "\\x" not in hexadecimal:
        return hexadecimal
    return os.fsdecode(bytes.fromhex(hexadecimal.replace("\\x", "")))
