"""Reading every committed block of vector files once, from the disk, against its checksum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from m2m_rag.errors import M2MError
from m2m_rag.storage.files import os_errors
from m2m_rag.storage.plain import refuse_link
from m2m_rag.storage.vectors.base import Layout, VectorFile
from m2m_rag.storage.vectors.disk import digest
from m2m_rag.storage.vectors.format import HEADER_BYTES, Header, block_rows, check_header


class Damage(NamedTuple):
    """Rows `first_row` to `stop` of the collection that file `name` does not hold as committed."""

    name: str
    first_row: int
    stop: int
    problem: str


def damaged_rows(
    folder: Path, dimension: int, collection: bytes, generation: int, layout: Layout
) -> Iterator[Damage]:
    """Yield what is damaged; memory for one block, nothing is changed or kept.

    Parameters
    ----------
    folder
        Holds the vector files.
    dimension, collection, generation
        What each header must say.
    layout
        The committed files, as `check_files` accepts them.
    """
    for file in layout.files:
        path = folder / file.name
        try:
            refuse_link(path)
            with os_errors(path), open(path, "rb") as stream:
                header = Header(dimension, file.number, generation, collection)
                check_header(stream.read(HEADER_BYTES), path, header)
                yield from _damaged_blocks(stream, dimension, file, layout)
        except M2MError as error:
            yield Damage(file.name, file.first_row, file.first_row + file.rows, str(error))


def _damaged_blocks(
    stream: BinaryIO, dimension: int, file: VectorFile, layout: Layout
) -> Iterator[Damage]:
    size = block_rows(dimension)
    for number in range(-(-file.rows // size)):
        n_rows = min(size, file.rows - number * size)
        data = stream.read(4 * dimension * n_rows)
        block = layout.checksums(file.number, number, number).get(number)
        first_row = file.first_row + number * size
        stop = first_row + n_rows
        if len(data) < 4 * dimension * n_rows:
            yield Damage(file.name, first_row, file.first_row + file.rows, "the file is cut off")
            return
        rows = np.frombuffer(data, dtype="<f4").reshape(n_rows, dimension)
        if block is None or block.rows != n_rows or block.checksum != digest(rows):
            problem = f"rows {first_row} to {stop - 1} do not match their checksum"
            yield Damage(file.name, first_row, stop, problem)
