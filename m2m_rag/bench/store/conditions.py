"""Filters that every store can say: equality and a lower bound on metadata, joined by AND.

They are chosen from the data, so that they match about half of the records, a tenth, and so on.
What stores disagree on (null, absence, negation) is left out on purpose: here an answer is right or
wrong, not a matter of dialect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log
from typing import Any, Literal, NamedTuple, TypeAlias

Value: TypeAlias = str | int | float
Metadata: TypeAlias = dict[str, Value]

SHARES = (0.5, 0.1, 0.01, 0.001)
"""What equalities should match."""
RANGE_SHARE = 0.1
"""What the lower bound should match."""
BOTH_SHARE = 0.01
"""What the lower bound and an equality should match together."""


class Term(NamedTuple):
    """One comparison; a record without the key does not match."""

    key: str
    op: Literal["eq", "gte"]
    value: Value

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.key} {'=' if self.op == 'eq' else '≥'} {self.value}"


Terms: TypeAlias = tuple[Term, ...]
"""Joined by AND; empty for no filter."""


def matches(metadata: Metadata, terms: Iterable[Term]) -> bool:
    """Tell whether a record matches; the definition that stores are judged by.

    Examples
    --------
    >>> matches({"year": 2024}, (Term("year", "gte", 2020),))
    True
    >>> matches({}, (Term("year", "gte", 2020),))
    False
    """
    for key, op, value in terms:
        found = metadata.get(key)
        if found is None or isinstance(found, str) is not isinstance(value, str):
            return False
        if not (found == value if op == "eq" else found >= value):  # type: ignore[operator]
            return False
    return True


def describe(terms: Terms) -> str:
    """Return a filter for people."""
    return " and ".join(map(str, terms)) or "no filter"


def as_where(terms: Terms) -> dict[str, Any] | None:
    """Return a filter as a Mongo-like dictionary, which we and Chroma read."""
    parts = [{key: value} if op == "eq" else {key: {"$gte": value}} for key, op, value in terms]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"$and": parts}


def choose(metadatas: Sequence[Metadata], keys: Sequence[str]) -> list[Terms]:
    """Choose filters of several selectivities, the same for the same data.

    Equalities that match nearest to `SHARES`, a lower bound on a number nearest to `RANGE_SHARE`,
    and this bound with an equality nearest to `BOTH_SHARE`. What the data cannot give is left out.
    """
    n = len(metadatas)
    counts = _equalities(metadatas, keys)
    chosen: list[Terms] = []
    for share in SHARES:
        term = _nearest(counts, share * n)
        if term is not None:
            del counts[term]
            chosen.append((term,))
    bound = _nearest(_bounds(metadatas, keys), RANGE_SHARE * n)
    if bound is None:
        return chosen
    chosen.append((bound,))
    inside = [metadata for metadata in metadatas if matches(metadata, (bound,))]
    others = [key for key in keys if key != bound.key]
    both = _nearest(_equalities(inside, others), BOTH_SHARE * n)
    return chosen if both is None else [*chosen, (both, bound)]


def _equalities(metadatas: Iterable[Metadata], keys: Sequence[str]) -> Counter[Term]:
    counts: Counter[Term] = Counter()
    for metadata in metadatas:
        for key in keys:
            value = metadata.get(key)
            if isinstance(value, (str, int)) and value != "":
                counts[Term(key, "eq", value)] += 1
    return counts


def _bounds(metadatas: Sequence[Metadata], keys: Sequence[str]) -> Counter[Term]:
    counts: Counter[Term] = Counter()
    for key in keys:
        values = Counter(m[key] for m in metadatas if isinstance(m.get(key), (int, float)))
        above = 0
        for value in sorted(values, reverse=True):
            above += values[value]
            counts[Term(key, "gte", value)] = above
    return counts


def _nearest(counts: Counter[Term], wanted: float) -> Term | None:
    """Return the term whose count is nearest by its logarithm; ties to the first by name."""
    return min(
        counts,
        key=lambda term: (abs(log(counts[term] / wanted)), term.key, str(term.value)),
        default=None,
    )
