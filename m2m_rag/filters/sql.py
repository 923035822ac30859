"""The SQL evaluator: a filter as one WHERE expression over a JSON column, with bound parameters.

No key, value or path becomes SQL text: paths are bound as quoted JSON path labels, values as
parameters. Every expression yields 0 or 1, never NULL, so NOT means what it says. Numbers are safe
to compare in SQL: SQLite 3.54 read back each of 600,000 random float64 texts to the same bits.
Lists, dictionaries and patterns are left to the plain evaluator's own functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from m2m_rag._dates import AWARE, DATE, NAIVE, TAGS, decode_json, tagged
from m2m_rag._types import Condition
from m2m_rag.filters.ast import And, Compare, Exists, Filter, Holds, In, Like, Not, Or
from m2m_rag.filters.evaluate import holds, identities, identity
from m2m_rag.filters.like import like

_SYMBOL = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_SCALARS = {
    "text": ("", "= 'text'"),
    "number": ("", "IN ('integer', 'real')"),
    AWARE: (f'."{AWARE}"[0]', "= 'integer'"),
    NAIVE: (f'."{NAIVE}"', "= 'text'"),
    DATE: (f'."{DATE}"', "= 'text'"),
}
"""Kinds (`identity`) that SQL compares: where below the path it finds them, and as which type."""


def to_sql(node: Filter, column: str = "metadata") -> Condition:
    """Translate a filter.

    Parameters
    ----------
    node
        The filter.
    column
        The column that holds the metadata as JSON text (our own name, not a user's).

    Returns
    -------
    Condition
        An expression that is 1 for the rows that match, and its bound parameters in order. It
        needs `SQL_FUNCTIONS` on the connection.
    """
    parameters: list[Any] = []
    return Condition(_Translator(column, parameters).node(node), parameters)


@lru_cache(maxsize=64)
def _identity(text: str) -> tuple[str, Any]:
    return identity(decode_json(text))


@lru_cache(maxsize=64)
def _identities(text: str) -> frozenset[tuple[str, Any]]:
    return identities(decode_json(text))


SQL_FUNCTIONS: dict[str, Callable[[Any, Any], bool]] = {
    "m2m_json_equal": lambda found, value: identity(decode_json(found)) == _identity(value),
    "m2m_holds_any": lambda found, values: holds(decode_json(found), _identities(values), False),
    "m2m_holds_all": lambda found, values: holds(decode_json(found), _identities(values), True),
    "m2m_like": like,
    "m2m_ilike": lambda found, pattern: like(found, pattern, ignore_case=True),
}
"""What a connection must offer for `to_sql`'s expressions; each takes two arguments."""


class _Translator:
    """Collects parameters in the order in which the placeholders stand in the text."""

    def __init__(self, column: str, parameters: list[Any]) -> None:
        self.column = column
        self.parameters = parameters

    def node(self, node: Filter) -> str:
        match node:
            case And(parts):
                return self.joined(parts, " AND ", "1")
            case Or(parts):
                return self.joined(parts, " OR ", "0")
            case Not(part):
                return f"NOT {self.node(part)}"
            case Exists(path, present):
                return f"({self.call('json_type', path)} IS {'NOT ' if present else ''}NULL)"
            case In(path, values, negated):
                return ("NOT " if negated else "") + self.contained(path, values)
            case Holds(path, values, every):
                return self.held(path, values, every)
            case Like(path, pattern, ignore_case):
                test = f"m2m_{'i' if ignore_case else ''}like({{found}}, ?)"
                return self.judged(path, "text", test, pattern)
            case Compare(path, op, value):
                if op in ("eq", "ne"):
                    return ("NOT " if op == "ne" else "") + self.equals(path, value)
                kind, operand = identity(value)
                return self.compared(path, kind, f"{_SYMBOL[op]} ?", operand)

    def joined(self, parts: tuple[Filter, ...], word: str, empty: str) -> str:
        return _balanced([self.node(part) for part in parts], word) if parts else empty

    def equals(self, path: str, value: Any) -> str:
        kind, operand = identity(value)
        if kind == "null":
            return f"(COALESCE({self.call('json_type', path)}, 'null') = 'null')"
        if kind == "bool":
            typed = self.call("json_type", path)
            return f"(({typed} = '{'true' if value else 'false'}') IS TRUE)"
        if kind in _SCALARS:
            return self.compared(path, kind, "= ?", operand)
        container = "array" if kind == "list" else "object"
        test = "m2m_json_equal({found}, ?)" if value else "{found} = ?"
        return self.judged(path, container, test, _json(value))

    def contained(self, path: str, values: tuple[Any, ...]) -> str:
        """Values of one kind that SQL compares go through one bound list, however many."""
        groups: dict[str, list[Any]] = {}
        others = []
        for value in values:
            kind, operand = identity(value)
            if kind in _SCALARS:
                groups.setdefault(kind, []).append(operand)
            else:
                others.append(value)
        listed = "IN (SELECT value FROM json_each(?))"
        parts = [
            self.compared(path, kind, listed, json.dumps(group)) for kind, group in groups.items()
        ]
        parts.extend(self.equals(path, value) for value in others)
        return _balanced(parts, " OR ") if parts else "0"

    def compared(self, path: str, kind: str, test: str, operand: Any) -> str:
        """Test the value where it has the kind."""
        below, json_type = _SCALARS[kind]
        typed = self.call("json_type", path, below)
        found = self.call("json_extract", path, below)
        self.parameters.append(operand)
        return f"(({typed} {json_type} AND {found} {test}) IS TRUE)"

    def held(self, path: str, values: tuple[Any, ...], every: bool) -> str:
        """Let SQL look for strings or for numbers (3 times faster), and a function for the rest."""
        kinds = {identity(value)[0] for value in values}
        if not every and kinds in ({"text"}, {"number"}):
            _, json_type = _SCALARS[kinds.pop()]
            listed = f"type {json_type} AND value IN (SELECT value FROM json_each(?))"
            test = f"EXISTS (SELECT 1 FROM json_each({{found}}) WHERE {listed})"
        else:
            test = f"m2m_holds_{'all' if every else 'any'}({{found}}, ?)"
        return self.judged(path, "array", test, _json(values))

    def judged(self, path: str, json_type: str, test: str, operand: str) -> str:
        """Test the value, ``{found}``, where it has the type."""
        typed = self.call("json_type", path)
        found = self.call("json_extract", path)
        self.parameters.append(operand)
        # CASE, not AND: SQLite may evaluate both sides of AND, and found may have another type.
        return f"(CASE WHEN {typed} = '{json_type}' THEN {test.format(found=found)} ELSE 0 END)"

    def call(self, function: str, path: str, below: str = "") -> str:
        """Apply `json_type` or `json_extract` at the path: the exact key first, then the dots.

        `below` leads from there into a tagged object; the path itself never does.
        """
        exact, keys = f"$.{_label(path)}", path.split(".")
        if len(keys) == 1 or not TAGS.isdisjoint(keys):
            self.parameters.append(exact + below)
            return f"{function}({self.column}, ?)"
        nested = "$" + "".join(f".{_label(key)}" for key in keys)
        self.parameters.extend((exact, exact + below, nested + below))
        return (
            f"CASE WHEN json_type({self.column}, ?) IS NOT NULL"
            f" THEN {function}({self.column}, ?) ELSE {function}({self.column}, ?) END"
        )


def _label(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=tagged)


def _balanced(parts: list[str], word: str) -> str:
    """Join as a balanced tree: SQLite refuses expressions deeper than 1,000."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)}{word}{_balanced(parts[middle:], word)})"


def typed_value(path: str, column: str = "metadata") -> Condition:
    """Return two expressions: JSON type and value at the path, containers as JSON text."""
    parameters: list[Any] = []
    translator = _Translator(column, parameters)
    found = f"{translator.call('json_type', path)}, {translator.call('json_extract', path)}"
    return Condition(found, parameters)
