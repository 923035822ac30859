"""Hypothesis strategies: metadata and filters with hostile keys and values."""

from __future__ import annotations

from hypothesis import strategies as st

from m2m_rag.filters import And, Compare, Exists, In, Not, Or

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
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
NO_NUL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
KEYS = st.sampled_from(["a", "b", "a.b", "", *HOSTILE]) | NO_NUL
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.integers(-3, 3) | st.floats(-3, 3) | INTS | FLOATS
SCALARS = st.none() | st.booleans() | NUMBERS | TEXT | st.sampled_from(HOSTILE)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
METADATA = st.dictionaries(KEYS, VALUES, max_size=4)
PATHS = st.lists(KEYS, min_size=1, max_size=2).map(".".join)

ORDERED = st.builds(Compare, PATHS, st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS | TEXT)
EQUALS = st.builds(Compare, PATHS, st.sampled_from(["eq", "ne"]), VALUES)
CONTAINED = st.builds(In, PATHS, st.lists(VALUES, max_size=4).map(tuple), st.booleans())
LEAVES = ORDERED | EQUALS | CONTAINED | st.builds(Exists, PATHS, st.booleans())
FILTERS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
