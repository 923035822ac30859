"""The contract of a vector store, and the commit record that the catalog keeps for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from m2m_rag._types import FloatArray, RowArray, Segment


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


class Vectors(ABC):
    """Append-only rows. What was appended counts once the catalog has committed its record."""

    dimension: int

    @abstractmethod
    def append(self, layout: Layout, vectors: FloatArray) -> tuple[list[VectorFile], list[Block]]:
        """Put rows on disk behind those that `layout` describes.

        Parameters
        ----------
        layout
            The committed state.
        vectors
            ``(n, d)`` float32, C-contiguous.

        Returns
        -------
        files, blocks
            The records that the catalog must commit: files new or grown, blocks new or grown.
        """

    @abstractmethod
    def segments(self, layout: Layout) -> list[Segment]:
        """Return all rows of the layout, verified, as views."""

    @abstractmethod
    def rows(self, layout: Layout, rows: RowArray) -> FloatArray:
        """Return a fresh ``(len(rows), d)`` array of the rows, verified, in the order asked."""

    @abstractmethod
    def close(self) -> None:
        """Release files and memory."""
