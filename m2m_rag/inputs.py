"""Checks of what users pass in: each returns the engine's form of it, or says what is wrong."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np

from m2m_rag._dates import EPOCH
from m2m_rag._types import FloatArray
from m2m_rag.config import COLLECTION_NAME, LIMITS
from m2m_rag.errors import DimensionError, InvalidInputError, LimitError
from m2m_rag.storage.checksums import checksum
from m2m_rag.storage.metadata import check_unicode, encode_metadata
from m2m_rag.storage.transaction import NewRecord

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


def as_records(
    n: int,
    ids: Any,
    texts: Any,
    metadatas: Any,
    alphas: Any,
    kappas: Any,
    expires_at: Any = None,
) -> list[NewRecord]:
    """Return n records from the columns given; a column of another length raises."""
    columns = {
        "ids": [uuid.uuid4().hex for _ in range(n)] if ids is None else as_ids(ids),
        "texts": [None] * n if texts is None else _as_texts(texts),
        "metadatas": [None] * n if metadatas is None else as_list(metadatas, "metadatas"),
        "alphas": _as_weights(alphas, n, 1.0, "alphas"),
        "kappas": _as_weights(kappas, n, None, "kappas"),
        "expires_at": [None] * n if expires_at is None else _as_moments(expires_at),
    }
    for name, column in columns.items():
        if len(column) != n:
            raise InvalidInputError(
                f"{name}: {len(column)} given for {n} vectors. Give one for each vector."
            )
    return [
        NewRecord(
            id_,
            text,
            None if text is None else text_hash(text),
            encode_metadata(metadata, f"metadatas[{position}]"),
            alpha,
            kappa,
            expires_us,
        )
        for position, (id_, text, metadata, alpha, kappa, expires_us) in enumerate(
            zip(*columns.values(), strict=True)
        )
    ]


def as_list(values: Any, name: str) -> list[Any]:
    """Return the entries of a column: one for each record."""
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
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
    if "\0" in os.fsdecode(value):
        raise InvalidInputError(f"path: {value!r:.80} holds a NUL, which no path can.")
    return Path(os.fsdecode(value))


def check_name(name: object) -> None:
    """Refuse what is not a collection's name."""
    if not isinstance(name, str) or not COLLECTION_NAME.fullmatch(name):
        raise InvalidInputError(
            f"name: {name!r:.80} is not a collection's name. Use 1 to 128 letters, digits, '.', "
            "'_' and '-', beginning with a letter or digit."
        )


def text_hash(text: str) -> int:
    """Return the XXH3-64 of a text's UTF-8 as a signed integer."""
    return checksum(text.encode())


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


def _as_texts(values: Any) -> list[str | None]:
    texts = as_list(values, "texts")
    for position, value in enumerate(texts):
        if value is None:
            continue
        where = f"texts[{position}]"
        if type(value) is not str:
            raise InvalidInputError(
                f"{where}: a text is a string or None, got {type(value).__name__}."
            )
        check_unicode(value, where)
        if len(value) > LIMITS.text_bytes // 4 and len(value.encode()) > LIMITS.text_bytes:
            raise LimitError(
                f"{where}: {len(value.encode())} bytes; a text has at most {LIMITS.text_bytes}. "
                "Split it into passages."
            )
    return texts


def _as_weights(values: Any, n: int, default: float | None, name: str) -> list[float | None]:
    if values is None:
        return [default] * n
    weights: list[float | None] = []
    for position, value in enumerate(as_list(values, name)):
        if value is None:
            weights.append(default)
            continue
        number = value.item() if getattr(value, "ndim", None) == 0 else value
        if type(number) not in (int, float) or not 0.0 < number <= sys.float_info.max:
            raise InvalidInputError(
                f"{name}[{position}]: expected a finite number above 0, got {value!r:.80}."
            )
        weights.append(float(number))
    return weights


def _as_moments(values: Any) -> list[int | None]:
    """Return moments as microseconds since 1970 in UTC."""
    moments: list[int | None] = []
    for position, value in enumerate(as_list(values, "expires_at")):
        if value is None:
            moments.append(None)
            continue
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise InvalidInputError(
                f"expires_at[{position}]: expected a datetime with a time zone or None, got "
                f"{value!r:.80}. As in datetime.now(UTC) + timedelta(days=30)."
            )
        moments.append((value - EPOCH) // timedelta(microseconds=1))
    return moments
