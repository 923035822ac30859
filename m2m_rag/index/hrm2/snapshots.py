r"""Snapshots of the index on disk, format 3: one file a state, read through a memory map.

The index is derived from the catalog and the vectors: a file that is missing, damaged or does not
fit is left alone and the index is built again.

Layout, little-endian::

    0     8   magic "M2MHRM2\0"
    8     4   uint32 format version, 3
    12    4   uint32 length of the header
    16    8   uint64 XXH3-64 of the header
    24    …   header: UTF-8 JSON, the state's numbers and for each array name, dtype, shape,
              offset from the file's begin and XXH3-64
    …         the arrays, each at a multiple of 64 bytes

The codes of the centroids and the coarse clusters are not in it: they follow from the rest, and are
made again when it is loaded (1 ms for 1,264 clusters).

A file is written under a temporary name, synced and renamed, so a name always means a whole file.
Its arrays are used where they are mapped; what grows is copied out of it, cluster by cluster.

Nobody of ours shortens a file, but whoever else does, say a copy over it, would end the process
that reads the map (SIGBUS). So its size is looked at before each use (`Mapped.is_whole`), as for
vector files; a file that is cut off within a search is the case that is left.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import uuid
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from m2m_rag._types import Metric
from m2m_rag.compute.clustered import LANES, Cells, Clusters
from m2m_rag.errors import CorruptError
from m2m_rag.index.hrm2.admitting import DTYPES, Numbers, check_arrays, read_numbers
from m2m_rag.index.hrm2.centroids import code_centroids
from m2m_rag.index.hrm2.state import BuildBackend, Settings, State

MAGIC = b"M2MHRM2\0"
VERSION = 3
SUFFIX = ".hrm2"
_HEAD = struct.Struct("<8sIIQ")
_ALIGNMENT = 64
_CLUSTER_ARRAYS = ("signs", "order", "center", "fine", "facts", "sizes")


class Mapped:
    """The map of a file, which lives as long as arrays lie in it."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = weakref.ref(mapped)

    def is_whole(self) -> bool:
        """Tell whether the mapped file is still as long as it was, or not in use any more."""
        mapped = self._mapped()
        return mapped is None or mapped.size() >= len(mapped)


class Loaded(NamedTuple):
    """A state, and the file that it lies in."""

    state: State
    file: Mapped


def save(state: State, settings: Settings, owner: Mapping[str, Any], folder: Path) -> Path:
    """Write a state to a new file in `folder` and return its path.

    Parameters
    ----------
    state
        The state; its rows lie in one arena in the file.
    settings
        What it was built with.
    owner
        What the file belongs to, as JSON values: `load` wants the same.
    folder
        It and its parent are made when missing, for their owner alone, as the file is.
    """
    clusters = state.clusters
    arrays: dict[str, NDArray[Any]] = {name: getattr(clusters, name) for name in _CLUSTER_ARRAYS}
    sizes = clusters.sizes.copy()  # lanes may be added meanwhile: what is saved is what is counted
    n_blocks = -(-sizes // LANES)
    parts = [clusters.cells.codes(c)[:n] for c, n in enumerate(n_blocks.tolist())]
    arrays["blocks"] = np.concatenate(parts)
    lanes = [clusters.cells.rows(c)[: LANES * n] for c, n in enumerate(n_blocks.tolist())]
    arrays["rows"] = np.concatenate(lanes)
    arrays.update(sizes=sizes, coarse_of=state.coarse_of, limits=state.limits)
    table: list[list[Any]] = []
    offset = 0
    for name, array in arrays.items():
        table.append([name, array.dtype.str, list(array.shape), offset, _digest(array)])
        offset += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    header = json.dumps(
        {
            "owner": dict(owner),
            "settings": list(settings),
            "dimension": clusters.dimension,
            "spread": clusters.spread,
            "reach": clusters.reach,
            "n_indexed": state.n_indexed,
            "n_built": state.n_built,
            "n_purged": state.n_purged,
            "n_measured": list(state.curve[:3]),
            "points": [[float(value) for value in point] for point in state.curve.points],
            "arrays": table,
        }
    ).encode()
    for missing in (folder.parent, folder):
        missing.mkdir(exist_ok=True, mode=0o700)
    name = f"{state.n_indexed:012d}-{uuid.uuid4().hex[:12]}{SUFFIX}"
    temporary = folder / (name + ".tmp")
    begin = _begin(len(header))
    try:
        with open(temporary, "xb", opener=_private) as stream:
            stream.write(_HEAD.pack(MAGIC, VERSION, len(header), xxhash.xxh3_64_intdigest(header)))
            stream.write(header)
            for (_, _, _, place, _), array in zip(table, arrays.values(), strict=True):
                stream.seek(begin + place)
                stream.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            stream.truncate(begin + offset)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    return folder / name


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def load(
    path: Path, settings: Settings, owner: Mapping[str, Any], n_rows: int, backend: BuildBackend
) -> Loaded | None:
    """Return the state in a file, or None when it belongs to something else.

    Parameters
    ----------
    path
        The file; anyone may have written it.
    settings, owner
        Those that it was saved with.
    n_rows
        Of the collection; a state that has seen more belongs to something else.
    backend
        Searches with it.

    Raises
    ------
    CorruptError
        The file is damaged.
    OSError
        It cannot be read.
    """
    with _damage_named(path), open(path, "rb") as stream:
        version, header, begin = _header(stream)
        if version != VERSION:
            return None
        if header["owner"] != dict(owner) or header["settings"] != list(settings):
            return None
        if header["n_indexed"] > n_rows:
            return None
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = _arrays(np.frombuffer(mapped, np.uint8), begin, header["arrays"])
        numbers = read_numbers(header, owner["dimension"], n_rows)
        check_arrays(arrays, numbers, settings.metric)
        return Loaded(_state(numbers, arrays, settings.metric, backend), Mapped(mapped))


def check(path: Path) -> None:
    """Hold a file against its checksums.

    Raises
    ------
    CorruptError
        The file is damaged.
    OSError
        It cannot be read.
    """
    with _damage_named(path), open(path, "rb") as stream:
        version, header, begin = _header(stream)
        if version == VERSION:
            raw = np.memmap(stream, dtype=np.uint8, mode="r").view(np.ndarray)
            _arrays(raw, begin, header["arrays"])


def _header(stream: BinaryIO) -> tuple[int, dict[str, Any], int]:
    """Return the version, the header, and where the arrays begin."""
    magic, version, length, digest = _HEAD.unpack(stream.read(_HEAD.size))
    text = stream.read(length)
    if magic != MAGIC or xxhash.xxh3_64_intdigest(text) != digest:
        raise ValueError("the header does not match its checksum")
    return version, json.loads(text) if version == VERSION else {}, _begin(length)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (
        ValueError,
        LookupError,
        TypeError,
        ArithmeticError,
        RecursionError,
        struct.error,
    ) as error:
        raise CorruptError(
            f"{path} is damaged: {error}. Delete it; the index is derived."
        ) from error


def _state(
    numbers: Numbers, arrays: dict[str, Any], metric: Metric, backend: BuildBackend
) -> State:
    """Put a state together from what a file holds, which was checked."""
    sizes, coarse_of, limits = arrays["sizes"], arrays.pop("coarse_of"), arrays.pop("limits")
    n_blocks = -(-sizes // LANES)
    cells = Cells(
        [(arrays.pop("blocks"), arrays.pop("rows"))],
        np.zeros(len(sizes), dtype=np.int32),
        (np.cumsum(n_blocks) - n_blocks).astype(np.int32),
        n_blocks.astype(np.int32),
    )
    coarse, first, blocks, slots = code_centroids(
        arrays["fine"], arrays["facts"], coarse_of, backend
    )
    clusters = Clusters(
        metric=metric,
        dimension=numbers.dimension,
        cells=cells,
        spread=numbers.spread,
        reach=numbers.reach,
        coarse=coarse,
        coarse_first=first,
        centroid_blocks=blocks,
        centroid_slots=slots,
        **arrays,
    )
    return State(
        clusters,
        backend.pack(clusters),
        coarse_of,
        limits,
        numbers.n_indexed,
        numbers.n_built,
        numbers.n_purged,
        numbers.curve,
    )


def newest(folder: Path) -> list[Path]:
    """Return the snapshots in a folder, those with the most rows first."""
    try:
        found = sorted(folder.glob("*" + SUFFIX), reverse=True)
        return [path for path in found if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


def _arrays(raw: NDArray[np.uint8], begin: int, table: list[Any]) -> dict[str, Any]:
    arrays = {}
    for name, kind, shape, offset, digest in table:
        if DTYPES.get(name) != kind or not all(type(n) is int for n in [offset, *shape]):
            raise ValueError(f"{name!r:.80} is no array of an index")
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        part = raw[begin + offset : begin + offset + size]
        if min(offset, *shape) < 0 or len(part) != size or _digest(part) != digest:
            raise ValueError(f"array {name!r} does not match its checksum")
        arrays[name] = part.view(dtype).reshape(shape)
    if arrays.keys() != DTYPES.keys():
        raise ValueError("it holds other arrays than an index has")
    return arrays


def _begin(header_length: int) -> int:
    return -(-(_HEAD.size + header_length) // _ALIGNMENT) * _ALIGNMENT


def _digest(array: NDArray[Any]) -> int:
    contiguous = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return int(xxhash.xxh3_64_intdigest(contiguous.data))
