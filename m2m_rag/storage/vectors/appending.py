"""Appending to vector files: the plan, the writing, and the syncs that a commit waits for.

An append is a pwrite behind the rows that count. To sync is an fdatasync of each file that was
appended to, and for a new file also an fsync of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from m2m_rag.storage.files import os_errors, sync_data, sync_folder
from m2m_rag.storage.plain import OPEN_FLAGS, refuse_link
from m2m_rag.storage.vectors.base import VectorFile, file_name


class Piece(NamedTuple):
    """A part of an append: rows `start` to `stop` of the batch go behind `file`'s rows."""

    file: VectorFile
    is_new: bool
    start: int
    stop: int


def plan_append(
    files: Sequence[VectorFile], n_rows: int, rows_per_file: int, generation: int
) -> list[Piece]:
    """Decide which rows of a batch go into which file.

    Parameters
    ----------
    files
        The committed files in order.
    n_rows
        Rows of the batch.
    rows_per_file
        Rows that seal a file.
    generation
        Part of a new file's name.
    """
    pieces = []
    last = files[-1] if files else None
    start = 0
    while start < n_rows:
        room = 0 if last is None else rows_per_file - last.rows
        if last is None or room <= 0:
            number = 0 if last is None else last.number + 1
            first_row = 0 if last is None else last.first_row + last.rows
            last = VectorFile(number, file_name(generation, number), first_row, 0)
            room = rows_per_file
        stop = min(n_rows, start + room)
        pieces.append(Piece(last, last.rows == 0, start, stop))
        last = last._replace(rows=last.rows + stop - start)
        start = stop
    return pieces


class _Opened(NamedTuple):
    descriptor: int
    is_new: bool


class Unsynced:
    """The files of a folder that were appended to.

    They stay open until they are synced: a descriptor hears of every failure since it was opened.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[str, _Opened] = {}

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._opened)

    def open(self, name: str, *, is_new: bool) -> int:
        """Return a file's descriptor for writing; a new file begins empty.

        A new file may be held already: an append that began it was undone.
        """
        held = self._opened.get(name)
        if held is not None:
            return held.descriptor
        path = self._folder / name
        refuse_link(path)
        flags = os.O_RDWR | OPEN_FLAGS
        if is_new:
            self._folder.mkdir(exist_ok=True, mode=0o700)
            flags |= os.O_CREAT | os.O_TRUNC
        opened = self._opened[name] = _Opened(os.open(path, flags, 0o600), is_new)
        return opened.descriptor

    def end(self, *, is_synced: bool) -> None:
        """Close all, after syncing them when `is_synced`; those that a failure leaves stay."""
        are_new = False
        while self._opened:
            name, (descriptor, is_new) = next(iter(self._opened.items()))
            if is_synced:
                with os_errors(self._folder / name):
                    sync_data(descriptor)
            del self._opened[name]
            os.close(descriptor)
            are_new = are_new or is_new
        if are_new and is_synced:
            with os_errors(self._folder):
                sync_folder(self._folder)
                sync_folder(self._folder.parent)


def write_all(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of the data at an offset."""
    while data:
        if hasattr(os, "pwrite"):
            written = os.pwrite(descriptor, data, offset)
        else:
            os.lseek(descriptor, offset, os.SEEK_SET)
            written = os.write(descriptor, data)
        data = data[written:]
        offset += written
