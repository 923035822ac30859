"""The types that every layer shares: what users get back, and how the parts meet."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Metric: TypeAlias = Literal["cosine", "dot", "l2"]
Durability: TypeAlias = Literal["full", "normal", "off"]
Metadata: TypeAlias = dict[str, Any]
Where: TypeAlias = "dict[str, Any]"
FloatArray: TypeAlias = NDArray[np.float32]
RowArray: TypeAlias = NDArray[np.int64]
ScoreArray: TypeAlias = NDArray[np.float64]
WordArray: TypeAlias = NDArray[np.uint64]
MaskArray: TypeAlias = NDArray[np.bool_]

METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
DURABILITIES: tuple[Durability, ...] = ("full", "normal", "off")


class Record(NamedTuple):
    """What a user stored under one id.

    Attributes
    ----------
    id
        The user's id.
    text
        The stored text, or None.
    metadata
        A fresh dictionary; changing it does not change the collection.
    alpha
        Weight > 0 of the splat, 1.0 unless given.
    kappa
        Concentration > 0 of the splat, None when none was given.
    vector
        ``(d,)`` float32, exactly as stored, when it was asked for; else None.
    expires_at
        When the record will be gone, in UTC; None when it stays.
    """

    id: str
    text: str | None
    metadata: Metadata
    alpha: float
    kappa: float | None
    vector: FloatArray | None
    expires_at: datetime | None = None


class Hit(NamedTuple):
    """A record that a search found, with its score (higher is better)."""

    id: str
    score: float
    text: str | None
    metadata: Metadata
    alpha: float
    kappa: float | None
    vector: FloatArray | None
    expires_at: datetime | None = None


class HitGroup(NamedTuple):
    """The best hits that share a metadata value."""

    value: Any
    hits: list[Hit]


class Facet(NamedTuple):
    """A metadata value and how many records have it."""

    value: Any
    n: int


class Stage(NamedTuple):
    """One answer of a progressive search.

    Attributes
    ----------
    lod
        0, 1 or 2.
    hits
        The answer; at LOD 0 the scores are estimates.
    recall
        What the calibration expects: 1 at LOD 2 and where there is no index, NaN at LOD 0, which is
        not calibrated.
    latency_s
        Seconds that the index took since the search began.
    """

    lod: int
    hits: list[Hit]
    recall: float
    latency_s: float


class WriteReport(NamedTuple):
    """What one `upsert` did: the ids in the order given, and how many records of each kind.

    `skipped` counts those that `only` left as they were, or left out.
    """

    ids: list[str]
    added: int
    updated: int
    deleted: int
    skipped: int = 0


class Segment(NamedTuple):
    """A run of stored rows that lie together in memory or in one mapped file.

    `vectors` is ``(n, d)`` float32, C-contiguous and read-only; its first row is row
    `first_row` of the collection.
    """

    first_row: int
    vectors: FloatArray

    @property
    def stop(self) -> int:
        """The row after the last."""
        return self.first_row + len(self.vectors)


class Condition(NamedTuple):
    """A condition on stored metadata as SQL: an expression that is 0 or 1, values bound."""

    sql: str
    parameters: list[Any]


class Backend(Protocol):
    """What the layers above need of a compute backend (`m2m_rag.compute.base` specifies it)."""

    name: str

    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """Return the ``(n,)`` squared Euclidean norms."""
        ...

    def top_k(
        self,
        queries: FloatArray,
        vectors: FloatArray,
        norms2: ScoreArray,
        k: int,
        metric: Metric,
        allowed: MaskArray | None = None,
    ) -> tuple[RowArray, ScoreArray]:
        """Return, a line for each query, the best rows and their scores."""
        ...


class ClusterBackend(Protocol):
    """What clustering needs of a compute backend (`m2m_rag.compute.base` specifies it)."""

    def assign(self, vectors: FloatArray, centroids: FloatArray) -> RowArray:
        """Return the number of each row's nearest centroid."""
        ...

    def squared_distances(
        self, vectors: FloatArray, centroids: FloatArray, labels: RowArray
    ) -> ScoreArray:
        """Return the squared distance of each row to its centroid."""
        ...

    def cluster_sums(
        self, vectors: FloatArray, labels: RowArray, n_clusters: int
    ) -> tuple[ScoreArray, RowArray]:
        """Return the clusters' sums and sizes."""
        ...
