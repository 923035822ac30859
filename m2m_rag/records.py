"""The records that a user gives in columns: each entry checked, or told by its place."""

from __future__ import annotations

import sys
import uuid
from datetime import datetime, timedelta
from typing import Any

from m2m_rag._dates import EPOCH
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError, LimitError, shown
from m2m_rag.inputs import as_ids, as_list
from m2m_rag.storage.checksums import checksum
from m2m_rag.storage.metadata import check_unicode, encode_metadata
from m2m_rag.storage.transaction import NewRecord

MICROSECOND = timedelta(microseconds=1)


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


def text_hash(text: str) -> int:
    """Return the XXH3-64 of a text's UTF-8 as a signed integer."""
    return checksum(text.encode())


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
                f"{name}[{position}]: expected a finite number above 0, got {shown(value)}."
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
        try:
            moment = (value - EPOCH) // MICROSECOND
            EPOCH + moment * MICROSECOND  # as it is given back
        except Exception as error:  # a time zone is anybody's code
            raise InvalidInputError(
                f"expires_at[{position}]: expected a moment from the year 1 to 9999 in UTC, got "
                f"{value!r:.120} ({error!r:.80}). Use None for a record that stays."
            ) from error
        moments.append(moment)
    return moments
