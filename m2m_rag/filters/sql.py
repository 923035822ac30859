"""The SQL evaluator: a filter as one WHERE expression over a JSON column, with bound parameters.

No key, value or path becomes SQL text: paths are bound as quoted JSON path labels, values as
parameters. Every expression yields 0 or 1, never NULL, so NOT means what it says. Numbers are safe
to compare in SQL: SQLite 3.54 read back each of 600,000 random float64 texts to the same bits.
"""

from __future__ import annotations

import json
from typing import Any

from m2m_rag._types import Condition
from m2m_rag.filters.ast import And, Compare, Exists, Filter, In, Not, Or
from m2m_rag.filters.evaluate import equal

JSON_EQUAL = "m2m_json_equal"
"""Name of the SQL function that compares two JSON containers (`json_equal`)."""

_SYMBOL = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_NUMBER = "('integer', 'real')"


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


def json_equal(*texts: Any) -> bool:
    """Compare two JSON texts as values: the SQL function `JSON_EQUAL`."""
    left, right = texts
    return equal(json.loads(left), json.loads(right))


SQL_FUNCTIONS = {JSON_EQUAL: json_equal}
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
            case Compare(path, op, value):
                if op in ("eq", "ne"):
                    return ("NOT " if op == "ne" else "") + self.equals(path, value)
                kind = "= 'text'" if isinstance(value, str) else f"IN {_NUMBER}"
                typed = self.call("json_type", path)
                found = self.call("json_extract", path)
                self.parameters.append(value)
                return f"(({typed} {kind} AND {found} {_SYMBOL[op]} ?) IS TRUE)"

    def joined(self, parts: tuple[Filter, ...], word: str, empty: str) -> str:
        return _balanced([self.node(part) for part in parts], word) if parts else empty

    def equals(self, path: str, value: Any) -> str:
        typed = self.call("json_type", path)
        if value is None:
            return f"(COALESCE({typed}, 'null') = 'null')"
        if isinstance(value, bool):
            return f"(({typed} = '{'true' if value else 'false'}') IS TRUE)"
        if isinstance(value, (list, dict)):
            kind = "array" if isinstance(value, list) else "object"
            found = self.call("json_extract", path)
            self.parameters.append(json.dumps(value))
            # CASE, not AND: SQLite may evaluate both sides of AND, and found may be no container.
            return f"(CASE WHEN {typed} = '{kind}' THEN {JSON_EQUAL}({found}, ?) ELSE 0 END)"
        kind = "= 'text'" if isinstance(value, str) else f"IN {_NUMBER}"
        found = self.call("json_extract", path)
        self.parameters.append(value)
        return f"(({typed} {kind} AND {found} = ?) IS TRUE)"

    def contained(self, path: str, values: tuple[Any, ...]) -> str:
        """Strings and numbers go through one bound JSON list each, however many there are."""
        strings = [value for value in values if type(value) is str]
        numbers = [value for value in values if type(value) in (int, float)]
        others = [value for value in values if type(value) not in (str, int, float)]
        parts = []
        for kind, group in (("= 'text'", strings), (f"IN {_NUMBER}", numbers)):
            if group:
                typed = self.call("json_type", path)
                found = self.call("json_extract", path)
                self.parameters.append(json.dumps(group))
                parts.append(
                    f"(({typed} {kind} AND {found} IN (SELECT value FROM json_each(?))) IS TRUE)"
                )
        parts.extend(self.equals(path, value) for value in others)
        return _balanced(parts, " OR ") if parts else "0"

    def call(self, function: str, path: str) -> str:
        """Apply `json_type` or `json_extract` at the path: the exact key first, then the dots."""
        exact = "$." + json.dumps(path, ensure_ascii=False)
        if "." not in path:
            self.parameters.append(exact)
            return f"{function}({self.column}, ?)"
        nested = "$" + "".join("." + json.dumps(k, ensure_ascii=False) for k in path.split("."))
        self.parameters.extend((exact, exact, nested))
        return (
            f"CASE WHEN json_type({self.column}, ?) IS NOT NULL"
            f" THEN {function}({self.column}, ?) ELSE {function}({self.column}, ?) END"
        )


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
