"""A disk that a log of system calls is replayed on: files, folders, and what of them is on disk.

A file's bytes are on disk after fsync or fdatasync of the file, a name after fsync of the folder
that it stands in. Names lead to files and folders, as on a real disk: a hard link is a second name
of one file, and a folder that is renamed takes along what is in it, on disk or not.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
DESCRIPTOR = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>(\(deleted\))?)?")
Tree = dict[str, bytes | str | None]
"""A state of a disk by path: a file's bytes, or its first name where this is a further one (a hard
link), or None for a folder."""


class Call(NamedTuple):
    """A system call that returned."""

    name: str
    arguments: str
    result: int
    opened: str


class File:
    """A file's bytes: now, on disk, and the changes in between.

    A change is an offset and bytes, or a new length and None.
    """

    def __init__(self, content: bytes = b"") -> None:
        self.now = bytearray(content)
        self.durable = content
        self.pending: list[tuple[int, bytes | None]] = []

    def change(self, place: int, data: bytes | None) -> None:
        apply(self.now, place, data)
        self.pending.append((place, data))

    def sync(self) -> None:
        self.durable = bytes(self.now)
        self.pending.clear()


class Folder:
    """A folder's names: now, and on disk."""

    def __init__(self, entries: Entries | None = None) -> None:
        self.now: Entries = dict(entries or {})
        self.durable: Entries = dict(self.now)

    def sync(self) -> None:
        self.durable = dict(self.now)


Entries = dict[str, File | Folder]


def apply(content: bytearray, place: int, data: bytes | None) -> None:
    """Do one change."""
    if len(content) < place:
        content.extend(bytes(place - len(content)))
    if data is None:
        del content[place:]
    else:
        content[place : place + len(data)] = data


class Disk:
    """The folder `root` and what is in it.

    Parameters
    ----------
    root
        Its path in the log. SQLite's ``-shm`` files are left out.
    before
        A folder whose copy stood at `root`, on disk, when the log began. Without one nothing did.
    lost_syncs
        Files whose paths end so are never put on disk by a sync: the disk lies about them.
    """

    def __init__(
        self, root: str, before: Path | None = None, lost_syncs: tuple[str, ...] = ()
    ) -> None:
        self.root = root
        self.above = Folder()
        """The folder that `root` stands in."""
        if before is not None:
            self.above = Folder({os.path.basename(root): _stored(before)})
        self.lost_syncs = lost_syncs
        self.positions: dict[int, int] = {}
        self.last: File | None = None

    def holds(self, path: str) -> bool:
        return (path == self.root or path.startswith(self.root + "/")) and not path.endswith("-shm")

    def found(self, path: str) -> File | Folder | None:
        """Return what stands at a path now."""
        if path == os.path.dirname(self.root):
            return self.above
        if not self.holds(path):
            return None
        parent = self.found(os.path.dirname(path))
        return parent.now.get(os.path.basename(path)) if isinstance(parent, Folder) else None

    def tree(self, names: Callable[[Folder], Entries], content: Callable[[File], bytes]) -> Tree:
        """Return what the names chosen lead to; each folder and file is asked for once."""
        tree: Tree = {}
        first_names: dict[File, str] = {}

        def walk(folder: Folder, path: str) -> None:
            for name, node in sorted(names(folder).items()):
                inner = os.path.join(path, name)
                if isinstance(node, Folder):
                    tree[inner] = None
                    walk(node, inner)
                elif node in first_names:
                    tree[inner] = first_names[node]
                else:
                    tree[inner] = content(node)
                    first_names[node] = inner

        walk(self.above, os.path.dirname(self.root))
        return tree

    def take(self, call: Call) -> bool:
        """Do a call; return whether it changed anything."""
        strings = [
            bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(call.arguments)
        ]
        found = DESCRIPTOR.match(call.arguments)
        descriptor = int(found[1]) if found and found[1].isdigit() else -1
        at = text_of(found[2] or "") if found and not found[3] else ""
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
        if self.found(path) is None:
            return "O_CREAT" in call.arguments and self._put(path, File())
        return "O_TRUNC" in call.arguments and self._change(path, 0, None)

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
        file = self.found(path)
        if not isinstance(file, File):
            return False
        file.change(place, data)
        self.last = file
        return True

    def _fsync(self, call, descriptor, at, strings, paths) -> bool:
        found = self.found(at)
        if found is None or at.endswith(self.lost_syncs):
            return False
        found.sync()
        return True

    _fdatasync = _fsync

    def _mkdir(self, call, descriptor, at, strings, paths) -> bool:
        return self.holds(paths[0]) and self._put(paths[0], Folder())

    _mkdirat = _mkdir

    def _rename(self, call, descriptor, at, strings, paths) -> bool:
        source, target = paths
        assert self.holds(source) == self.holds(target), f"{source} is moved out or in"
        if not self.holds(source):
            return False
        moved = self._take_away(source)
        is_near = os.path.dirname(source) == os.path.dirname(target)
        assert is_near or isinstance(moved, File), f"{source} is moved to another folder"
        return self._put(target, moved)

    def _linkat(self, call, descriptor, at, strings, paths) -> bool:
        source, target = paths
        assert self.holds(source) == self.holds(target), f"{source} is linked from or to outside"
        return self.holds(target) and self._put(target, self.found(source))

    def _unlink(self, call, descriptor, at, strings, paths) -> bool:
        return self.holds(paths[0]) and self._take_away(paths[0]) is not None

    _unlinkat = _rmdir = _unlink

    def _put(self, path: str, node: File | Folder | None) -> bool:
        parent = self.found(os.path.dirname(path))
        assert isinstance(parent, Folder), f"{path} has no folder: a call is missing from the log"
        assert node is not None, f"what is to stand at {path} is missing"
        parent.now[os.path.basename(path)] = node
        return True

    def _take_away(self, path: str) -> File | Folder | None:
        parent = self.found(os.path.dirname(path))
        return parent.now.pop(os.path.basename(path)) if isinstance(parent, Folder) else None

    def _mmap(self, call, descriptor, at, strings, paths) -> bool:
        fields = call.arguments.split(", ")
        path = text_of(DESCRIPTOR.match(fields[4])[2] or "")
        is_written = "PROT_WRITE" in fields[2] and "MAP_SHARED" in fields[3]
        assert not (is_written and self.holds(path)), f"{path} is written through a map"
        return False


def text_of(hexadecimal: str) -> str:
    """Return a string that strace has written in hexadecimal."""
    if "\\x" not in hexadecimal:
        return hexadecimal
    return os.fsdecode(bytes.fromhex(hexadecimal.replace("\\x", "")))


def _stored(folder: Path) -> Folder:
    """Return a folder that is on disk as it is."""
    return Folder(
        {
            item.name: _stored(item) if item.is_dir() else File(item.read_bytes())
            for item in folder.iterdir()
        }
    )
