"""Metadata as JSON text: what is accepted comes back exactly, everything else is refused.

Accepted: dictionaries with string keys, lists, str, int within 64 bits, finite float, bool, None,
date, and datetime, naive or aware (it comes back with the offset that it had, as a fixed one).
Nothing is converted: a tuple or a numpy scalar would come back as something else, so the error
names it and says what to store instead.
"""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from typing import Any

from m2m_rag._dates import TAGS, decode_json, tagged
from m2m_rag.config import LIMITS
from m2m_rag.errors import CorruptError, InvalidInputError, LimitError

_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=tagged
)


def encode_metadata(metadata: Any, where: str) -> str:
    """Return metadata as JSON text.

    Parameters
    ----------
    metadata
        A dictionary, or None for an empty one.
    where
        Names the record in error messages, such as ``"metadatas[3]"``.

    Raises
    ------
    InvalidInputError
        Naming the key and the value that would not come back exactly.
    """
    if metadata is None:
        return "{}"
    if type(metadata) is not dict:
        raise InvalidInputError(
            f"{where}: metadata is a dictionary or None, got {type(metadata).__name__}."
        )
    if not metadata:
        return "{}"
    _check(metadata, where, 1)
    text = _encoder.encode(metadata)
    check_unicode(text, where)
    n_bytes = len(text) if text.isascii() else len(text.encode())
    if n_bytes > LIMITS.metadata_bytes:
        raise LimitError(
            f"{where}: {n_bytes} bytes of JSON; a record's metadata may have "
            f"{LIMITS.metadata_bytes}. Store long content as the record's text."
        )
    return text


def decode_metadata(text: str) -> dict[str, Any]:
    """Return the dictionary that `encode_metadata` was given.

    Raises
    ------
    CorruptError
        The text is no JSON object: we did not write it.
    """
    if text == "{}":
        return {}
    try:
        decoded = decode_json(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptError(f"stored metadata is no JSON ({error}). Run verify().") from error
    if type(decoded) is not dict:
        raise CorruptError(f"stored metadata is no JSON object: {text:.80}. Run verify().")
    return decoded


def is_same_metadata(left: str, right: str) -> bool:
    """Tell whether two metadata texts hold equal values, in whatever order their keys stand.

    Types count, as they come back: 1 is neither True nor 1.0.
    """
    return left == right or _ordered(left) == _ordered(right)


def check_unicode(text: str, where: str) -> None:
    """Refuse a lone surrogate, which UTF-8 cannot hold."""
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{where}: not valid Unicode text: lone surrogate "
            f"{text[error.start]!r} at position {error.start}. Decode the source with the right "
            "encoding, or replace it: s.encode('utf-8', 'replace').decode()."
        ) from None


def _ordered(text: str) -> str:
    return json.dumps(decode_metadata(text), sort_keys=True, default=tagged)


def _check(value: Any, where: str, depth: int) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if not -(2**63) <= value < 2**63:
            raise InvalidInputError(
                f"{where}: {value.bit_length()} bits are beyond 64-bit integers. "
                "Store it as a string."
            )
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidInputError(f"{where}: {value} is not JSON. Store None or a string.")
    elif kind is dict or kind is list:
        if depth > LIMITS.metadata_depth:
            raise LimitError(
                f"{where}: nested deeper than {LIMITS.metadata_depth} levels. Flatten it."
            )
        if kind is list:
            for position, item in enumerate(value):
                _check(item, f"{where}[{position}]", depth + 1)
            return
        for key, item in value.items():
            if type(key) is not str:
                raise InvalidInputError(
                    f"{where}: key {key!r} is {type(key).__name__}, keys are strings."
                )
            if "\0" in key:
                raise InvalidInputError(
                    f"{where}: key {key!r} holds a NUL, which no path can name."
                )
            if key in TAGS:
                raise InvalidInputError(
                    f"{where}: key {key!r} is reserved: it marks stored dates. Store the date or "
                    "datetime itself, or use another key."
                )
            if type(item) is str:
                continue
            _check(item, f"{where}[{key!r}]", depth + 1)
    elif kind is datetime:
        try:
            value.utcoffset()
        except Exception as error:  # a time zone is anybody's code
            raise InvalidInputError(
                f"{where}: the datetime's time zone fails ({error!r:.80}). Use one of "
                "datetime.timezone or zoneinfo."
            ) from error
    elif kind is not date:
        raise InvalidInputError(
            f"{where}: {kind.__name__} is not JSON (dict, list, str, int, float, bool, None) nor a "
            "date or datetime. Convert it first: list(value) for tuples and sets, value.item() "
            "for numpy scalars, value.to_pydatetime() for pandas timestamps."
        )
