"""The dictionary dialect told again with plain loops: what is right, however slow."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

MISSING = object()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def fits(where: dict[str, Any], metadata: dict[str, Any]) -> bool:
    for key, value in where.items():
        if key == "$and":
            good = all(fits(part, metadata) for part in value)
        elif key == "$or":
            good = any(fits(part, metadata) for part in value)
        elif key == "$nor":
            good = not any(fits(part, metadata) for part in value)
        elif key == "$not":
            good = not fits(value, metadata)
        elif isinstance(value, dict) and any(name.startswith("$") for name in value):
            good = fulfils(value, look_up(key, metadata))
        else:
            good = same(look_up(key, metadata), value)
        if not good:
            return False
    return True


def look_up(path: str, metadata: Any) -> Any:
    if path in metadata:
        return metadata[path]
    found = metadata
    for name in path.split("."):
        if type(found) is not dict or name not in found:
            return MISSING
        found = found[name]
    return found


def fulfils(operators: dict[str, Any], found: Any) -> bool:
    return all(fulfils_one(name, operand, found) for name, operand in operators.items())


def fulfils_one(name: str, operand: Any, found: Any) -> bool:
    if name == "$not":
        return not fulfils(operand, found)
    if name in ("$ne", "$neq", "$nin", "$not_contains"):
        positive = {"$ne": "$eq", "$neq": "$eq", "$nin": "$in", "$not_contains": "$contains"}
        return not fulfils_one(positive[name], operand, found)
    if name == "$eq":
        return same(found, operand)
    if name == "$in":
        return any(same(found, one) for one in operand)
    if name == "$exists":
        return (found is not MISSING) == operand
    if name == "$empty":
        return (found is MISSING or found is None or found in ("", [], {})) == operand
    if name == "$between":
        return order(found, operand[0]) in (0, 1) and order(found, operand[1]) in (0, -1)
    if name in ("$gt", "$gte", "$lt", "$lte"):
        signs = {"$gt": [1], "$gte": [0, 1], "$lt": [-1], "$lte": [0, -1]}
        return order(found, operand) in signs[name]
    if name == "$contains" and type(found) is str:
        return type(operand) is str and operand in found
    if name in ("$contains", "$any", "$all"):
        if type(found) is not list:
            return False
        wanted = [operand] if name == "$contains" else operand
        held = [any(same(item, one) for item in found) for one in wanted]
        return any(held) if name == "$any" else all(held)
    if type(found) is not str:
        return False
    if name == "$text":
        return operand.casefold() in found.casefold()
    return like(found.casefold() if name == "$ilike" else found, tokens(operand, name == "$ilike"))


def same(found: Any, value: Any) -> bool:
    if found is MISSING:
        found = None
    if type(found) is list and type(value) is list:
        return len(found) == len(value) and all(map(same, found, value))
    if type(found) is dict and type(value) is dict:
        return set(found) == set(value) and all(same(found[key], value[key]) for key in found)
    if type(found) in (type(None), bool, list, dict):
        return type(found) is type(value) and found == value
    return order(found, value) == 0


def order(found: Any, value: Any) -> int | None:
    left, right = comparable(found), comparable(value)
    if left is None or right is None or left[0] != right[0]:
        return None
    return (left[1] > right[1]) - (left[1] < right[1])


def comparable(value: Any) -> tuple[str, Any] | None:
    if type(value) in (int, float):
        return "number", value
    if type(value) is datetime and value.tzinfo is not None:
        return "instant", value - EPOCH
    if type(value) in (str, datetime, date):
        return type(value).__name__, value
    return None


def tokens(pattern: str, fold: bool) -> list[tuple[str, str]]:
    found, escaped = [], False
    for character in pattern:
        if escaped or character not in "%_\\":
            found += [("is", c) for c in (character.casefold() if fold else character)]
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            found.append((character, ""))
    return found


def like(text: str, pattern: list[tuple[str, str]]) -> bool:
    """Fill the table of which prefix of the text fits which prefix of the pattern."""
    fitting = [True] + [False] * len(text)
    for kind, character in pattern:
        if kind == "%":
            reached = False
            for end in range(len(text) + 1):
                reached = reached or fitting[end]
                fitting[end] = reached
        else:
            for end in range(len(text), 0, -1):
                fitting[end] = fitting[end - 1] and (kind == "_" or text[end - 1] == character)
            fitting[0] = False
    return fitting[len(text)]
