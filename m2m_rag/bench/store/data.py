"""Data of the store benchmark: vectors with their texts and metadata, in a folder."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from m2m_rag._types import FloatArray
from m2m_rag.bench.store.conditions import Metadata, Value
from m2m_rag.errors import InvalidInputError

BASE, QUERIES, RECORDS = "base_f16.npy", "query_f16.npy", "corpus.jsonl.gz"
TEXT, ID = "text", "_id"

FieldType: TypeAlias = Literal["str", "int", "float"]
TYPES: dict[type, FieldType] = {str: "str", int: "int", float: "float"}


class Schema(NamedTuple):
    """What a store may need to know of the data before the first record comes.

    Attributes
    ----------
    dimension
        Length of the vectors.
    fields
        The type of each metadata key.
    keys
        Those that filters use.
    """

    dimension: int
    fields: dict[str, FieldType]
    keys: tuple[str, ...]


class Batch(NamedTuple):
    """Records to add in one call: row numbers, ``(n, d)`` unit vectors, texts, metadata."""

    rows: list[int]
    vectors: FloatArray
    texts: list[str]
    metadatas: list[Metadata]


def read(folder: Path, n_rows: int | None = None, first_row: int = 0) -> Batch:
    """Read the first records of a folder, all of them without `n_rows`.

    The folder holds ``base_f16.npy`` (directions, scaled to unit length here) and
    ``corpus.jsonl.gz``, a line for each with ``text`` and metadata. ``_id`` is left out: records
    are numbered from `first_row`; and so are lists, dictionaries, null and booleans among the
    metadata, which not every store holds.

    Raises
    ------
    InvalidInputError
        The folder holds no such pair, or less records than asked for.
    """
    vectors = _unit(folder / BASE, n_rows)
    path = _present(folder / RECORDS)
    texts, metadatas = [], []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for record in _records(itertools.islice(lines, len(vectors)), path):
            texts.append(record.pop(TEXT))
            metadatas.append(record)
    if len(texts) < len(vectors) or len(vectors) < (n_rows or 1):
        raise InvalidInputError(
            f"{folder}: {len(vectors)} vectors and {len(texts)} records, "
            f"{'at least one' if n_rows is None else n_rows} asked for; each needs the other"
        )
    return Batch([*range(first_row, first_row + len(texts))], vectors, texts, metadatas)


def read_queries(folder: Path, n_queries: int) -> FloatArray:
    """Read ``query_f16.npy``, at most `n_queries`, scaled to unit length."""
    return _unit(folder / QUERIES, n_queries)


def batches(data: Batch, n_rows: int) -> Iterator[Batch]:
    """Cut records into batches of `n_rows`, the last of which may be smaller."""
    for start in range(0, len(data.rows), n_rows):
        part = slice(start, start + n_rows)
        yield Batch(data.rows[part], data.vectors[part], data.texts[part], data.metadatas[part])


def schema_of(data: Batch, keys: tuple[str, ...] = ()) -> Schema:
    """Return the schema; without `keys`, filters may use every key.

    Raises
    ------
    InvalidInputError
        A key holds strings here and numbers there, or no record has one of `keys`.
    """
    found: dict[str, set[FieldType]] = {}
    for metadata in data.metadatas:
        for key, value in metadata.items():
            found.setdefault(key, set()).add(TYPES[type(value)])
    fields: dict[str, FieldType] = {}
    for key, types in sorted(found.items()):
        if "str" in types and len(types) > 1:
            raise InvalidInputError(f"metadata {key!r} holds strings and numbers; stores need one")
        fields[key] = types.pop() if len(types) == 1 else "float"
    unknown = [key for key in keys if key not in fields]
    if unknown:
        raise InvalidInputError(
            f"no record has the metadata key {unknown[0]!r}; there are {', '.join(fields)}"
        )
    return Schema(data.vectors.shape[1], fields, keys or tuple(fields))


def _records(lines: Iterator[str], path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InvalidInputError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(record, dict) or not isinstance(record.get(TEXT), str):
            raise InvalidInputError(f"{path}, line {number}: expected an object with a {TEXT!r}")
        yield {key: value for key, value in record.items() if key == TEXT or _is_kept(key, value)}


def _is_kept(key: str, value: Value) -> bool:
    return key != ID and type(value) in TYPES


def _unit(path: Path, n_rows: int | None) -> FloatArray:
    stored = np.load(_present(path), mmap_mode="r")
    if stored.ndim != 2:
        raise InvalidInputError(f"{path}: expected rows of numbers, got shape {stored.shape}")
    vectors = np.array(stored[:n_rows], dtype=np.float32, order="C")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (norms > 0).all():
        raise InvalidInputError(f"{path} holds a vector of length 0, which has no direction")
    vectors /= norms
    return vectors


def _present(path: Path) -> Path:
    if not path.is_file():
        raise InvalidInputError(
            f"{path} does not exist; the folder needs {BASE}, {QUERIES} and {RECORDS}"
        )
    return path
