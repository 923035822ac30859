"""Vectors on disk: append-only files, read through memory maps, each block verified once.

Appending is planned and then executed (see `appending`). Files are never changed where they are
committed; one that has reached `max_file_bytes` is sealed and the next one begins. Nothing is
written through a map.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import FloatArray, RowArray, Segment
from m2m_rag.errors import CorruptError
from m2m_rag.storage.checksums import checksum
from m2m_rag.storage.files import os_errors
from m2m_rag.storage.plain import refuse_link
from m2m_rag.storage.vectors.appending import Piece, Unsynced, plan_append, write_all
from m2m_rag.storage.vectors.base import Block, Layout, VectorFile, Vectors
from m2m_rag.storage.vectors.format import (
    HEADER_BYTES,
    Header,
    block_rows,
    check_header,
    pack_header,
)

MAX_FILE_BYTES = 1 << 30


@dataclass
class _Mapped:
    """A file as this process sees it.

    `rows` are those of `map`. `verified` holds how many rows of a block are verified; the first
    `checked` rows all are.
    """

    map: mmap.mmap
    rows: FloatArray
    verified: dict[int, int]
    checked: int = 0


class DiskVectors(Vectors):
    """Rows of a collection in its ``vectors`` folder.

    Parameters
    ----------
    folder
        Holds the vector files.
    dimension, collection, generation
        Written into each header, and checked when a file is opened.
    max_file_bytes
        Size that seals a file.
    syncs
        Whether `sync` does anything. A commit must not reach the disk before its vectors do, so
        only a database that may lose anything does without.
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        collection: bytes,
        generation: int,
        max_file_bytes: int = MAX_FILE_BYTES,
        *,
        syncs: bool = True,
    ) -> None:
        self._syncs = syncs
        self._folder = folder
        self.dimension = dimension
        self._collection = collection
        self._generation = generation
        self._block_rows = block_rows(dimension)
        self._rows_per_file = max(1, (max_file_bytes - HEADER_BYTES) // (4 * dimension))
        self._mapped: dict[int, _Mapped] = {}
        self._unsynced = Unsynced(folder)
        self._grown: dict[int, int] = {}
        self._lock = ForkSafeLock()

    def append(self, layout: Layout, vectors: FloatArray) -> tuple[list[VectorFile], list[Block]]:
        """See `Vectors.append`."""
        grown, blocks = [], []
        if not self._unsynced:
            self._grown.clear()  # what grew before is committed, or was undone
        plan = plan_append(layout.files, len(vectors), self._rows_per_file, self._generation)
        for piece in plan:
            rows = np.ascontiguousarray(vectors[piece.start : piece.stop], dtype="<f4")
            tail = self._tail(layout, piece.file)
            self._grown.setdefault(piece.file.number, piece.file.rows)
            self._write(piece, rows)
            with_tail = np.concatenate([tail, rows]) if len(tail) else rows
            blocks.extend(self._checksums(piece.file, with_tail))
            grown.append(piece.file._replace(rows=piece.file.rows + len(rows)))
        return grown, blocks

    def sync(self) -> None:
        """See `Vectors.sync`."""
        self._unsynced.end(is_synced=self._syncs)

    def undo(self) -> None:
        """See `Vectors.undo`."""
        self._unsynced.end(is_synced=False)
        with self._lock:
            for number, n_rows in self._grown.items():
                if n_rows == 0:  # a new file: another one may get its name
                    self._mapped.pop(number, None)
                    continue
                mapped = self._mapped.get(number)
                if mapped is not None:
                    stays, verified = n_rows // self._block_rows, mapped.verified.copy()
                    mapped.verified = {b: n for b, n in verified.items() if b < stays}

    def segments(self, layout: Layout) -> list[Segment]:
        """See `Vectors.segments`."""
        result = []
        for file in layout.files:
            mapped = self._map(file, file.rows)
            if mapped.checked < file.rows:
                self._verify(layout, file, mapped.checked, file.rows)
                mapped.checked = file.rows
            result.append(Segment(file.first_row, mapped.rows[: file.rows]))
        return result

    def rows(self, layout: Layout, rows: RowArray) -> FloatArray:
        """See `Vectors.rows`."""
        out = np.empty((len(rows), self.dimension), dtype=np.float32)
        n_found = 0
        for file in layout.files:
            inside = np.flatnonzero((rows >= file.first_row) & (rows < file.first_row + file.rows))
            local = rows[inside] - file.first_row
            for row in np.unique(local // self._block_rows) * self._block_rows:
                self._verify(layout, file, int(row), min(int(row) + self._block_rows, file.rows))
            if len(inside):
                out[inside] = self._map(file, int(local.max()) + 1).rows[local]
            n_found += len(inside)
        if n_found < len(rows):
            raise CorruptError(
                f"{self._folder}: the catalog names rows that its vector files do not hold. "
                "Restore a backup."
            )
        return out

    def close(self) -> None:
        """See `Vectors.close`."""
        self.undo()
        with self._lock:
            self._mapped.clear()

    def _header(self, file: VectorFile) -> Header:
        return Header(self.dimension, file.number, self._generation, self._collection)

    def _write(self, piece: Piece, rows: FloatArray) -> None:
        with os_errors(self._folder / piece.file.name):
            descriptor = self._unsynced.open(piece.file.name, is_new=piece.is_new)
            if piece.is_new:
                write_all(descriptor, memoryview(pack_header(self._header(piece.file))), 0)
            offset = HEADER_BYTES + piece.file.rows * 4 * self.dimension
            write_all(descriptor, memoryview(rows.data).cast("B"), offset)

    def _tail(self, layout: Layout, file: VectorFile) -> FloatArray:
        """Return the committed rows of the file's last, unfinished block, verified."""
        kept = file.rows % self._block_rows
        if not kept:
            return np.empty((0, self.dimension), dtype="<f4")
        self._verify(layout, file, file.rows - kept, file.rows)
        return self._map(file, file.rows).rows[file.rows - kept : file.rows]

    def _checksums(self, file: VectorFile, rows: FloatArray) -> list[Block]:
        """Return the blocks of `rows`, which begin where the file's last block begins."""
        first = file.rows // self._block_rows
        parts = [rows[i : i + self._block_rows] for i in range(0, len(rows), self._block_rows)]
        return [
            Block(file.number, first + i, len(part), digest(part)) for i, part in enumerate(parts)
        ]

    def _map(self, file: VectorFile, n_rows: int) -> _Mapped:
        """Return the file with at least its first `n_rows` committed rows mapped."""
        with self._lock:
            path = self._folder / file.name
            mapped = self._mapped.get(file.number)
            if mapped is not None and len(mapped.rows) >= n_rows:
                self._check_length(path, mapped.map.size(), file, n_rows)
                return mapped
            refuse_link(path)
            with os_errors(path), open(path, "rb") as stream:
                check_header(stream.read(HEADER_BYTES), path, self._header(file))
                self._check_length(path, os.fstat(stream.fileno()).st_size, file, n_rows)
                mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            present = (len(mapping) - HEADER_BYTES) // (4 * self.dimension)
            rows = np.frombuffer(mapping, "<f4", present * self.dimension, HEADER_BYTES)
            rows = rows.reshape(present, self.dimension)
            if mapped is None:
                mapped = self._mapped[file.number] = _Mapped(mapping, rows, {})
            else:
                mapped.map, mapped.rows = mapping, rows
            return mapped

    def _check_length(self, path: Path, size: int, file: VectorFile, n_rows: int) -> None:
        """Raise when the file is shorter than `n_rows` rows: reading a map would crash."""
        present = max(0, size - HEADER_BYTES) // (4 * self.dimension)
        if present < n_rows:
            raise CorruptError(
                f"{path} is cut off: {present} rows are there, {file.rows} are committed. "
                "Restore a backup."
            )

    def _verify(self, layout: Layout, file: VectorFile, start: int, stop: int) -> None:
        """Check the blocks of rows `start` to `stop` that were not checked before."""
        if stop <= start:
            return
        mapped = self._map(file, stop)
        rows, verified = mapped.rows, mapped.verified
        first, last = start // self._block_rows, (stop - 1) // self._block_rows
        expected = {
            number: min(self._block_rows, file.rows - number * self._block_rows)
            for number in range(first, last + 1)
        }
        todo = [number for number, size in expected.items() if verified.get(number, 0) < size]
        if not todo:
            return
        checksums = layout.checksums(file.number, todo[0], todo[-1])
        for number in todo:
            begin = number * self._block_rows
            size = expected[number]
            block = checksums.get(number)
            if (
                block is None
                or block.rows != size
                or block.checksum != digest(rows[begin : begin + size])
            ):
                raise CorruptError(
                    f"{self._folder / file.name}: rows {file.first_row + begin} to "
                    f"{file.first_row + begin + size - 1} do not match their checksum. "
                    "Restore a backup."
                )
            verified[number] = size


def digest(rows: FloatArray) -> int:
    """Return the checksum of the rows' bytes."""
    return checksum(memoryview(rows.data).cast("B"))
