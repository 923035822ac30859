"""Hypothesis strategies: metadata and filters with hostile keys and values."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from m2m_rag.filters import And, Compare, Exists, Holds, In, Like, Not, Or
from m2m_rag.filters.like import literal

HOSTILE = [
    'a"; drop table records;--',
    "$.a.b",
    "__proto__",
    "a.b",
    ".",
    "a..b",
    "'",
    '"',
    "\\",
    "[0]",
    "😀",
    "b.$day",
    "$ref.x",
]
WORDS = [
    "a", "A", "ab", "abab", "a%", "a_b", "\\", "%", "_", "x\0y", "\n", "😀a", "Straße", "STRASSE",
    "İ", "ς", "Σ", "É", "e\u0301", "2024-05-06", '{"$day":"2024-05-06"}',
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(WORDS)
NO_NUL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
KEYS = st.sampled_from(["a", "b", "a.b", "", *HOSTILE]) | NO_NUL
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.integers(-3, 3) | st.floats(-3, 3) | INTS | FLOATS
MOMENT = datetime(2024, 5, 6, 7, 8, 9)
AHEAD = timezone(timedelta(hours=5, minutes=30, seconds=1))
DAY = timedelta(hours=23, minutes=59, seconds=59)
OFFSETS = st.none() | st.timedeltas(-DAY, DAY).map(timezone)
DATES = (
    st.sampled_from(
        [
            MOMENT,
            MOMENT.replace(microsecond=1),
            MOMENT.replace(tzinfo=UTC),
            MOMENT.replace(tzinfo=UTC).astimezone(AHEAD),
            MOMENT.replace(tzinfo=AHEAD),
            MOMENT.date(),
            MOMENT.replace(hour=0, minute=0, second=0),
            date.min,
            date.max,
            datetime.min.replace(tzinfo=AHEAD),
            datetime.max.replace(tzinfo=timezone(-timedelta(hours=23, minutes=59))),
        ]
    )
    | st.dates()
    | st.datetimes(timezones=OFFSETS)
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT | st.sampled_from(HOSTILE) | DATES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=2).map(".".join)
LISTS = st.one_of(st.lists(kind, max_size=4) for kind in (VALUES, TEXT, NUMBERS, DATES))
PATTERNS = st.lists(
    st.sampled_from(["%", "%", "_", "\\a", "a", "b", "ß", "SS", "ſ"])
    | (NO_NUL | st.sampled_from(WORDS)).map(literal),
    max_size=5,
).map("".join)
ORDERABLE = NUMBERS | TEXT | DATES

LEAVES = st.one_of(
    st.builds(Compare, PATHS, st.sampled_from(["gt", "gte", "lt", "lte"]), ORDERABLE),
    st.builds(Compare, PATHS, st.sampled_from(["eq", "ne"]), VALUES),
    st.builds(In, PATHS, LISTS.map(tuple), st.booleans()),
    st.builds(Holds, PATHS, LISTS.map(tuple), st.booleans()),
    st.builds(Like, PATHS, PATTERNS, st.booleans()),
    st.builds(Exists, PATHS, st.booleans()),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)

OPERANDS = {
    "$eq": VALUES,
    "$ne": VALUES,
    "$neq": VALUES,
    "$gt": ORDERABLE,
    "$gte": ORDERABLE,
    "$lt": ORDERABLE,
    "$lte": ORDERABLE,
    "$between": st.tuples(ORDERABLE, ORDERABLE),
    "$in": LISTS,
    "$nin": LISTS,
    "$exists": st.booleans(),
    "$empty": st.booleans(),
    "$contains": VALUES,
    "$not_contains": VALUES,
    "$any": LISTS,
    "$all": LISTS,
    "$like": PATTERNS,
    "$ilike": PATTERNS,
    "$text": TEXT,
}
OPERATIONS = st.recursive(
    st.sampled_from(sorted(OPERANDS)).flatmap(
        lambda name: st.fixed_dictionaries({name: OPERANDS[name]})
    ),
    lambda inner: st.fixed_dictionaries({"$not": inner}),
    max_leaves=2,
)
FIELD_PATHS = PATHS.filter(lambda path: not path.startswith("$"))
WHERES = st.recursive(
    st.dictionaries(FIELD_PATHS, OPERATIONS | SCALARS | LISTS, max_size=2),
    lambda inner: (
        st.fixed_dictionaries({"$not": inner})
        | st.sampled_from(["$and", "$or", "$nor"]).flatmap(
            lambda name: st.fixed_dictionaries({name: st.lists(inner, max_size=3)})
        )
    ),
    max_leaves=4,
)
"""Filters of the dictionary dialect; dictionaries to compare with stand under an operator."""


@st.composite
def alike(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw a filter on one key, and metadata in which it finds the operand or its neighbours."""
    name = draw(st.sampled_from(sorted(OPERANDS)))
    operand = draw(OPERANDS[name])
    nested = list(operand) if isinstance(operand, (list, tuple)) else [operand]
    near = st.sampled_from([operand, *nested, WORDS[0], 0]).filter(lambda v: type(v) is not tuple)
    value = draw(near | st.lists(near | SCALARS, max_size=3))
    return {"a.b": {name: operand}}, draw(st.sampled_from([{"a.b": value}, {"a": {"b": value}}]))
