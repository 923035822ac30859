"""The contract of a method: how the benchmark builds, tunes, asks and weighs any library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

from m2m_rag._types import FloatArray, RowArray

BenchMetric: TypeAlias = Literal["ip", "l2"]
"""Inner product of unit rows, or Euclidean distance."""
Setting: TypeAlias = dict[str, float]
"""The values of a method's search parameters, by the library's own names."""


class Size(NamedTuple):
    """What an index takes in memory.

    Attributes
    ----------
    index_bytes
        All but the vectors.
    total_bytes
        With the vectors that the index needs for its answers, whoever holds them.
    """

    index_bytes: int
    total_bytes: int


class Method(ABC):
    """One library with one kind of index.

    Making it imports the library. `build` runs once, then `use` and `search` in turns.

    Parameters
    ----------
    metric
        How rows are compared; with ``"ip"`` all vectors have unit length.
    k
        How many rows an answer has.
    n_threads
        Threads of `build` and `search_batch`.

    Raises
    ------
    MissingExtraError
        The library is not installed.
    """

    name: ClassVar[str]
    distribution: ClassVar[str | None] = None
    """What the library is called on PyPI, or None when it is no library of its own."""
    max_queries: ClassVar[int | None] = None
    """A slow method answers only so many of the queries."""

    def __init__(self, metric: BenchMetric, k: int, n_threads: int) -> None:
        self.metric: BenchMetric = metric
        self.k = k
        self.n_threads = n_threads

    def warm_up(self, vectors: FloatArray) -> None:  # noqa: B027
        """Do what is needed once per installation, such as compiling; it is timed apart."""

    @abstractmethod
    def build(self, vectors: FloatArray) -> None:
        """Build the index of ``(n, d)`` float32 rows, C-contiguous, which stay alive."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return what the index is built with, once `build` has run."""

    @abstractmethod
    def settings(self) -> list[Setting]:
        """Return the settings of the curve, once `build` has run."""

    @abstractmethod
    def use(self, setting: Setting) -> None:
        """Search with this setting from now on."""

    @abstractmethod
    def search(self, query: FloatArray) -> RowArray:
        """Return the best k rows of one ``(d,)`` query through the library's plain call."""

    @abstractmethod
    def search_batch(self, queries: FloatArray) -> RowArray:
        """Return the best k rows of each of ``(m, d)`` queries through one call."""

    @abstractmethod
    def n_bytes(self) -> Size | None:
        """Return what the index takes in memory, or None when the library does not tell."""
