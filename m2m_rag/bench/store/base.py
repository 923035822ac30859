"""The contract of a store: how the benchmark fills, opens, asks and changes any database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from m2m_rag._types import FloatArray
from m2m_rag.bench.store.conditions import Terms
from m2m_rag.bench.store.data import Batch, Schema

COLLECTION = "bench"
"""What the collection or table is called in every store."""


class StoreMethod(ABC):
    """One embedded database, with one collection of records compared by cosine.

    Making it imports the library. Then comes either `create` or `open`, any of the others, and
    `close`; each pair of these happens in a process of its own. The library's defaults are kept,
    but for what a subclass says in its docstring and in `parameters`.

    Parameters
    ----------
    folder
        Where the store lives; it is empty, or as `close` left it.
    schema
        What the records look like.
    n_threads
        For libraries that take it as an argument.

    Raises
    ------
    MissingExtraError
        The library is not installed.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    """What is imported."""
    distribution: ClassVar[str]
    """What the library is called on PyPI."""
    max_queries: ClassVar[int | None] = None
    """A slow store answers only so many of the queries."""

    n_warm_up: ClassVar[int] = 300
    """Records of the round that does not count: enough to do what is done once an installation,
    such as compiling."""

    def __init__(self, folder: Path, schema: Schema, n_threads: int) -> None:
        self.folder = folder
        self.schema = schema
        self.n_threads = n_threads

    @abstractmethod
    def create(self) -> None:
        """Make the empty collection."""

    @abstractmethod
    def open(self) -> None:
        """Open the collection that is there."""

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Add records in one call, text and metadata with them."""

    def finish(self) -> None:  # noqa: B027
        """Do, or wait for, what searches need to be fast, once all records are there."""

    @abstractmethod
    def search(self, query: FloatArray, k: int, terms: Terms) -> list[int]:
        """Return the best k rows that match; the call fetches their texts and metadata as well."""

    @abstractmethod
    def delete(self, terms: Terms) -> None:
        """Delete the records that match."""

    @abstractmethod
    def count(self) -> int:
        """Return how many records there are."""

    @abstractmethod
    def close(self) -> None:
        """Close what is open; everything must be on disk."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what the collection is made with and searched with."""
