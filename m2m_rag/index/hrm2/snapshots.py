r"""Snapshots of the index on disk, format 2: one file a state, read through a memory map.

The index is derived from the catalog and the vectors: a file that is missing, damaged or does not
fit is left alone and the index is built again.

Layout, little-endian::

    0     8   magic "M2MHRM2\0"
    8     4   uint32 format version, 2
    12    4   uint32 length of the header
    16    8   uint64 XXH3-64 of the header
    24    …   header: UTF-8 JSON, the state's numbers and for each array name, dtype, shape,
              offset from the file's begin and XXH3-64
    …         the arrays, each at a multiple of 64 bytes

A file is written under a temporary name, synced and renamed, so a name always means a whole file.
Its arrays are used where they are mapped; what grows is copied out of it, cluster by cluster.

Nobody of ours shortens a file, but whoever else does, say a copy over it, would end the process
that reads the map (SIGBUS). So its size is looked at before each use (`Mapped.is_whole`), as for
vector files; a file that is cut off within a search is the case that is left.
"""

from __future__ import annotations

import json
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

from m2m_rag.compute.clustered import LANES, Cells, Clusters
from m2m_rag.errors import CorruptError
from m2m_rag.index.hrm2.admitting import check_clusters
from m2m_rag.index.hrm2.calibration import Curve, Point
from m2m_rag.index.hrm2.state import BuildBackend, Settings, State

MAGIC = b"M2MHRM2\0"
VERSION = 2
SUFFIX = ".hrm2"
_HEAD = struct.Struct("<8sIIQ")
_ALIGNMENT = 64
_CLUSTER_ARRAYS = (
    "signs", "order", "center", "coarse", "coarse_first", "centroid_blocks", "centroid_slots",
    "fine", "facts", "sizes",
)  # fmt: skip


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
        Made when missing.
    """
    clusters = state.clusters
    arrays = {name: getattr(clusters, name) for name in _CLUSTER_ARRAYS}
    sizes = clusters.sizes.copy()  # lanes may be added meanwhile: what is saved is what is counted
    n_blocks = -(-sizes // LANES)
    parts = [clusters.cells.codes(c)[:n] for c, n in enumerate(n_blocks.tolist())]
    arrays["blocks"] = np.concatenate(parts)
    lanes = [clusters.cells.rows(c)[: LANES * n] for c, n in enumerate(n_blocks.tolist())]
    arrays["rows"] = np.concatenate(lanes)
    arrays.update(sizes=sizes, coarse_of=state.coarse_of, limits=state.limits)
    table, offset = [], 0
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
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"{state.n_indexed:012d}-{uuid.uuid4().hex[:12]}{SUFFIX}"
    temporary = folder / (name + ".tmp")
    begin = _begin(len(header))
    try:
        with open(temporary, "xb") as stream:
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


def load(
    path: Path, settings: Settings, owner: Mapping[str, Any], backend: BuildBackend
) -> Loaded | None:
    """Return the state in a file, or None when it belongs to something else.

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
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = _arrays(np.frombuffer(mapped, np.uint8), begin, header["arrays"])
        return Loaded(_state(header, arrays, settings, backend), Mapped(mapped))


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
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error) as error:
        raise CorruptError(
            f"{path} is damaged: {error}. Delete it; the index is derived."
        ) from error


def _state(
    header: dict[str, Any], arrays: dict[str, Any], settings: Settings, backend: BuildBackend
) -> State:
    """Put a state together from what a file holds."""
    n_blocks = -(-arrays["sizes"] // LANES)
    first = np.cumsum(n_blocks) - n_blocks
    n_fine = len(arrays["sizes"])
    if n_blocks.sum() > len(arrays["blocks"]):
        raise ValueError("there are fewer blocks of codes than clusters need")
    cells = Cells(
        [(arrays.pop("blocks"), arrays.pop("rows"))],
        np.zeros(n_fine, dtype=np.int32),
        first.astype(np.int32),
        n_blocks.astype(np.int32),
    )
    coarse_of, limits = arrays.pop("coarse_of"), arrays.pop("limits")
    clusters = Clusters(
        metric=settings.metric,
        dimension=header["dimension"],
        cells=cells,
        spread=header["spread"],
        reach=header["reach"],
        **arrays,
    )
    check_clusters(clusters, coarse_of, limits, header["owner"]["dimension"])
    points = [Point(int(k), *rest) for k, *rest in header["points"]]
    measured_fine, measured_rows, n_seen = header["n_measured"]
    return State(
        clusters, backend.pack(clusters), coarse_of, limits, header["n_indexed"],
        header["n_built"], header["n_purged"], Curve(measured_fine, measured_rows, n_seen, points),
    )  # fmt: skip


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
        dtype = np.dtype(kind)
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        part = raw[begin + offset : begin + offset + size]
        if len(part) != size or _digest(part) != digest:
            raise ValueError(f"array {name!r} does not match its checksum")
        arrays[name] = part.view(dtype).reshape(shape)
    return arrays


def _begin(header_length: int) -> int:
    return -(-(_HEAD.size + header_length) // _ALIGNMENT) * _ALIGNMENT


def _digest(array: NDArray[Any]) -> int:
    contiguous = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return int(xxhash.xxh3_64_intdigest(contiguous.data))
