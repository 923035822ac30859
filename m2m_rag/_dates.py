"""Dates and datetimes inside JSON: tagged objects that come back equal and that SQL can order.

::

    aware datetime   {"$datetime": [microseconds since 1970 in UTC, "2024-05-06T07:08:00+02:00"]}
    naive datetime   {"$naive": "2024-05-06T07:08:00"}
    date             {"$day": "2024-05-06"}

The number orders aware datetimes of any offset by instant, and the text brings the offset back
(as a fixed one: a zone's name is not kept). The texts of the other two order as what they stand
for. The three keys are reserved: metadata that uses one as a key is refused. MongoDB's ``$date`` is
none of them, so that its exports can be ingested.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

AWARE, NAIVE, DATE = "$datetime", "$naive", "$day"
TAGS = frozenset({AWARE, NAIVE, DATE})
"""The keys that mark a tagged object; no path leads through one."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""From which moments are counted."""
_MICROSECOND = timedelta(microseconds=1)


def stamp(value: date) -> tuple[str, int | str]:
    """Return the tag of a date or datetime, and what orders it among those of its tag.

    Examples
    --------
    >>> stamp(date(2024, 5, 6))
    ('$day', '2024-05-06')
    """
    if not isinstance(value, datetime):
        return DATE, value.isoformat()
    if value.utcoffset() is None:
        return NAIVE, value.isoformat()
    return AWARE, (value - EPOCH) // _MICROSECOND


def tagged(value: date) -> dict[str, Any]:
    """Return the JSON object that stands for a date or datetime (a ``default`` of `json`)."""
    tag, order = stamp(value)
    return {tag: [order, value.isoformat()] if tag == AWARE else order}


def decode_json(text: str) -> Any:
    """Return the value of a JSON text, tagged objects as the dates that they stand for."""
    return _decoder.decode(text) if '{"$' in text else json.loads(text)


def untagged(found: dict[str, Any]) -> Any:
    """Return what an object stands for; one that is no tag of ours stays as it is.

    An ``object_hook`` for `json`.
    """
    if len(found) != 1:
        return found
    ((tag, held),) = found.items()
    try:
        if tag == AWARE:
            return datetime.fromisoformat(held[1])
        if tag == NAIVE:
            return datetime.fromisoformat(held)
        if tag == DATE:
            return date.fromisoformat(held)
    except (TypeError, ValueError, LookupError):
        return found
    return found


_decoder = json.JSONDecoder(object_hook=untagged)
