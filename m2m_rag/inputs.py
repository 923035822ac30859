"""Checks of what users pass in: each returns the engine's form of it, or says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from m2m_rag._types import FloatArray
from m2m_rag.config import COLLECTION_NAME, LIMITS
from m2m_rag.errors import DimensionError, InvalidInputError, LimitError, did_you_mean, shown
from m2m_rag.storage.metadata import check_unicode

SLICE_NUMBERS = 1 << 16
"""Numbers of lists that numpy converts at a time: it holds the GIL for 40 ns each (2.6 ms)."""
MAX_COUNT = 2**63 - 1
"""The largest whole number that SQLite takes."""


def as_vectors(values: Any, dimension: int | None, name: str) -> FloatArray:
    """Return vectors as ``(n, d)`` float32, C-contiguous and finite.

    Parameters
    ----------
    values
        Anything that numpy reads as a two-dimensional array of real numbers.
    dimension
        The expected d, or None when any will do.
    name
        The argument's name, for messages.

    Raises
    ------
    DimensionError
        Another d than expected.
    InvalidInputError
        Not numbers, not two-dimensional, NaN or infinite, or longer than `LIMITS.max_norm`.
    """
    array = _as_array(values, name)
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, dimension or 0)
    if array.ndim != 2:
        raise InvalidInputError(
            f"{name}: expected an array of shape (n, d), got shape {array.shape}."
            + (" For one vector, pass [vector]." if array.ndim == 1 else "")
        )
    if len(array):
        _check_dimension(array.shape[1], dimension, name)
    return _as_float32(array, name)


def as_queries(values: Any, dimension: int | None) -> tuple[FloatArray, bool]:
    """Return queries as ``(m, d)`` float32, and whether a single vector was given."""
    array = _as_array(values, "vector")
    if array.ndim not in (1, 2):
        raise InvalidInputError(
            f"vector: expected one vector (d,) or several (m, d), got shape {array.shape}."
        )
    if array.ndim == 2 and len(array) == 0:
        return np.empty((0, dimension or 0), dtype=np.float32), False
    _check_dimension(array.shape[-1], dimension, "vector")
    return _as_float32(np.atleast_2d(array), "vector"), array.ndim == 1


def as_ids(values: Any, name: str = "ids") -> list[str]:
    """Return ids as a list of non-empty strings within `LIMITS.id_bytes`."""
    ids = as_list(values, name)
    for position, value in enumerate(ids):
        where = f"{name}[{position}]"
        if type(value) is not str:
            raise InvalidInputError(
                f"{where}: an id is a string, got {type(value).__name__} {value!r:.80}. "
                "Convert it with str(...)."
            )
        if not value:
            raise InvalidInputError(f"{where}: an id is not empty. Leave ids out to get new ones.")
        if len(value) * 4 > LIMITS.id_bytes:
            check_unicode(value, where)
            if len(value.encode()) > LIMITS.id_bytes:
                raise LimitError(
                    f"{where}: {len(value.encode())} bytes; an id has at most {LIMITS.id_bytes}. "
                    "Use a hash of it, and keep the long form in metadata."
                )
        else:
            check_unicode(value, where)
    return cast("list[str]", ids)


def as_list(values: Any, name: str) -> list[Any]:
    """Return the entries of a column: one for each record."""
    is_single = isinstance(values, (str, bytes, dict)) or getattr(values, "ndim", None) == 0
    if is_single or not isinstance(values, Iterable):
        raise InvalidInputError(
            f"{name}: expected a list with one entry for each record, got {type(values).__name__}."
        )
    return list(values)


def as_text(value: Any, name: str) -> str:
    """Return a string that UTF-8 can hold."""
    if not isinstance(value, str):
        raise InvalidInputError(f"{name}: expected a string, got {type(value).__name__}.")
    check_unicode(value, name)
    return value


def as_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return one of the known words."""
    if not isinstance(value, str) or value not in choices:
        expected = " or ".join(map(repr, choices))
        near = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise InvalidInputError(f"{name}: expected {expected}, got {shown(value)}.{near}")
    return value


def as_count(value: Any, name: str, *, least: int, most: int = MAX_COUNT) -> int:
    """Return a whole number within bounds."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InvalidInputError(
            f"{name}: expected a whole number, got {type(value).__name__} {value!r:.80}."
        )
    number = int(value)
    if not least <= number <= most:
        upper = "" if most == MAX_COUNT else f" and at most {most}"
        got = number if abs(number) <= MAX_COUNT else "a number beyond 64 bits"
        raise InvalidInputError(f"{name}: expected at least {least}{upper}, got {got}.")
    return number


def as_seconds(value: Any, name: str) -> float:
    """Return a number of seconds, at least 0."""
    if not isinstance(value, (int, float)) or not value >= 0:
        raise InvalidInputError(f"{name}: expected seconds, at least 0, got {value!r:.80}.")
    return float(value)


def as_path(value: Any) -> Path:
    """Return the path of a database's folder."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InvalidInputError(f"path: expected a folder's path, got {value!r:.80}.")
    path = os.fsdecode(value)
    if "\0" in path:
        raise InvalidInputError(f"path: {value!r:.80} holds a NUL, which no path can.")
    try:
        os.path.abspath(path).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"path: {error.object!r} is not UTF-8, and SQLite opens no other files. Rename the "
            "folder, or choose another."
        ) from None
    except OSError as error:
        raise InvalidInputError(f"path: {path!r} leads from no folder ({error}).") from error
    return Path(path)


def check_name(name: object) -> None:
    """Refuse what is not a collection's name."""
    if not isinstance(name, str) or not COLLECTION_NAME.fullmatch(name):
        raise InvalidInputError(
            f"name: {name!r:.80} is not a collection's name. Use 1 to 128 letters, digits, '.', "
            "'_' and '-', beginning with a letter or digit."
        )


def _as_array(values: Any, name: str) -> np.ndarray[Any, Any]:
    if hasattr(values, "detach"):
        values = values.detach()
    if isinstance(values, Iterator):
        values = list(values)
    try:
        array = _converted(values)
    except Exception as error:
        raise InvalidInputError(
            f"{name}: not an array of numbers ({error}). Vectors of one call have one length."
        ) from error
    if array.dtype.kind not in "fiu" and array.size:
        raise InvalidInputError(
            f"{name}: expected real numbers, got {array.dtype} from {type(values).__name__}."
        )
    return array


def _converted(values: Any) -> np.ndarray[Any, Any]:
    """Return ``np.asarray(values)``; lists of rows in slices, between which other threads go on."""
    is_long = isinstance(values, (list, tuple)) and len(values) > 1
    if not is_long or not isinstance(values[0], (list, tuple)):
        return np.asarray(values)
    step = max(1, SLICE_NUMBERS // max(1, len(values[0])))
    first = np.asarray(values[:step])
    if len(values) <= step:
        return first
    array = np.empty((len(values), *first.shape[1:]), first.dtype)
    array[:step] = first
    for start in range(step, len(values), step):
        part = np.asarray(values[start : start + step])
        if part.dtype != array.dtype or part.shape[1:] != array.shape[1:]:
            return np.asarray(values)
        array[start : start + step] = part
    return array


def _as_float32(array: np.ndarray[Any, Any], name: str) -> FloatArray:
    with np.errstate(over="ignore", under="ignore"):
        # Always a copy: the caller may change its array while this one is checksummed and written.
        vectors = np.array(array, dtype=np.float32, order="C")
    norms2 = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64, casting="safe")
    bad = np.flatnonzero(~(norms2 <= LIMITS.max_norm**2))
    if len(bad):
        row = int(bad[0])
        column = np.flatnonzero(~np.isfinite(vectors[row]))
        if len(column):
            raise InvalidInputError(
                f"{name}[{row}]: component {int(column[0])} is {array[row, column[0]]}, which is "
                "not a finite float32. Vectors hold finite numbers only."
            )
        raise InvalidInputError(
            f"{name}[{row}]: norm {np.sqrt(norms2[row]):.3g} is above {LIMITS.max_norm:.3g}. "
            "Scale the vectors down."
        )
    return vectors


def _check_dimension(found: int, expected: int | None, name: str) -> None:
    if expected is not None and found != expected:
        raise DimensionError(
            f"{name}: got vectors of dimension {found}, the collection has {expected}. "
            "Was another embedding model used? One collection holds one model's vectors."
        )
    if found == 0:
        raise DimensionError(f"{name}: vectors of dimension 0.")
    if found > LIMITS.dimension:
        raise LimitError(f"{name}: dimension {found}; at most {LIMITS.dimension} is supported.")
