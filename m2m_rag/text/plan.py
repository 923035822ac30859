"""Decide what an ingest has to do, from what is there and what the collection holds. Pure.

The collection itself is the only state: every passage carries its source's hash, the splitter's
fingerprint and the number of passages that its source has, so a source is complete exactly when
that many passages agree on all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

Action: TypeAlias = Literal["added", "updated", "skipped"]


class Version(NamedTuple):
    """What a source's passages were made from, and how many there are."""

    source_hash: str
    splitter: str
    n_passages: int


class Held(NamedTuple):
    """How many passages of a source a collection holds, and the version if they all agree."""

    n_passages: int
    version: Version | None


def held_sources(metadatas: Iterable[Mapping[str, Any]]) -> dict[str, Held]:
    """Return what is held of each source, from the metadata of its passages."""
    found: dict[str, Held] = {}
    for metadata in metadatas:
        version = Version(metadata["source_hash"], metadata["splitter"], metadata["n_passages"])
        before = found.get(metadata["source"], Held(0, version))
        agreed = version if before.version == version else None
        found[metadata["source"]] = Held(before.n_passages + 1, agreed)
    return found


def decide(source_hash: str, splitter: str, held: Held | None) -> Action:
    """Return what to do with a source of which `held` is stored."""
    if held is None:
        return "added"
    is_complete = held.version == Version(source_hash, splitter, held.n_passages)
    return "skipped" if is_complete else "updated"


def chunks(names: Iterable[str], size: int) -> list[list[str]]:
    """Return the names, sorted, in lists of at most `size`."""
    ordered = sorted(names)
    return [ordered[at : at + size] for at in range(0, len(ordered), size)]
