"""The contract of a vector store, and the commit record that the catalog keeps for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from m2m_rag._types import FloatArray, RowArray, Segment
from m2m_rag.errors import CorruptError


class VectorFile(NamedTuple):
    """One vector file, as the catalog knows it."""

    number: int
    name: str
    first_row: int
    rows: int


class Block(NamedTuple):
    """One block of a vector file: its rows written so far and the checksum of their bytes."""

    file: int
    block: int
    rows: int
    checksum: int


class Layout(NamedTuple):
    """The files of a snapshot, and how to look up their blocks' checksums in that snapshot."""

    files: Sequence[VectorFile]
    checksums: Callable[[int, int, int], dict[int, Block]]
    """``checksums(file, first_block, last_block)``: the blocks by number, bounds included."""


def file_name(generation: int, number: int) -> str:
    """Return the name of a vector file."""
    return f"{generation}-{number}.f32"


def check_files(files: Sequence[VectorFile], generation: int, n_rows: int, folder: Path) -> None:
    """Raise unless the files are called as we call them and hold rows 0 to `n_rows` in order.

    Raises
    ------
    CorruptError
        The catalog's account of the files cannot be true: nobody but us may name files.
    """
    first_row = 0
    for number, file in enumerate(files):
        expected = VectorFile(number, file_name(generation, number), first_row, file.rows)
        if file != expected or type(file.rows) is not int or file.rows < 1:
            raise CorruptError(
                f"{folder}: the catalog's account of its vector files cannot be true: {file}. "
                "Restore a backup."
            )
        first_row += file.rows
    if first_row != n_rows:
        raise CorruptError(
            f"{folder}: the catalog counts {n_rows} rows, its vector files hold {first_row}. "
            "Restore a backup."
        )


class Vectors(ABC):
    """Append-only rows. What was appended counts once the catalog has committed its record."""

    dimension: int

    @abstractmethod
    def append(self, layout: Layout, vectors: FloatArray) -> tuple[list[VectorFile], list[Block]]:
        """Write rows behind those that `layout` describes; `sync` puts them on disk.

        Parameters
        ----------
        layout
            The state that is committed, or written so far in the same transaction.
        vectors
            ``(n, d)`` float32, C-contiguous.

        Returns
        -------
        files, blocks
            The records that the catalog must commit: files new or grown, blocks new or grown.
        """

    @abstractmethod
    def sync(self) -> None:
        """Put on disk what was appended: a commit must not reach the disk before its vectors do."""

    @abstractmethod
    def undo(self) -> None:
        """Forget what was appended since the last `sync`: other rows will be in its place."""

    @abstractmethod
    def segments(self, layout: Layout) -> list[Segment]:
        """Return all rows of the layout, verified, as views."""

    @abstractmethod
    def rows(self, layout: Layout, rows: RowArray) -> FloatArray:
        """Return a fresh ``(len(rows), d)`` array of the rows, verified, in the order asked."""

    @abstractmethod
    def close(self) -> None:
        """Release files and memory."""
