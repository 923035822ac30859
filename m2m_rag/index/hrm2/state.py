"""A state of the index: everything that searches, growth and snapshots need, never changed in part.

Searches hold a state while they run; growth makes the next one and puts it in its place. The next
one may use lanes of the older one's blocks beyond the sizes of its clusters: what comes to stand
there are rows not below the older state's `n_indexed`, which its searches ignore.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import (
    ClusterBackend,
    FloatArray,
    Metric,
    RowArray,
    ScoreArray,
)
from m2m_rag.compute.clustered import FACT, Clusters, NumberArray
from m2m_rag.index.hrm2.calibration import Curve
from m2m_rag.quantization import Rotation
from m2m_rag.quantization.rabitq import Encoder
from m2m_rag.quantization.rotation import Rotator


class BuildBackend(ClusterBackend, Rotator, Encoder, Protocol):
    """What building needs of a compute backend (`m2m_rag.compute.base` specifies it)."""

    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """Return the squared norms of the rows."""
        ...

    def pack(self, clusters: Clusters) -> Any:
        """Return a state in the form that searches take."""
        ...


class Settings(NamedTuple):
    """What shapes an index; equal settings and rows give an equal index.

    Attributes
    ----------
    metric
        Which score.
    n_coarse, n_fine
        Clusters of either level, about; None follows the number of rows.
    seed
        Of the rotation and of K-means.
    """

    metric: Metric
    n_coarse: int | None = None
    n_fine: int | None = None
    seed: int = 42


class Space(NamedTuple):
    """How stored vectors become what the index works on.

    Attributes
    ----------
    metric
        Which score.
    rotation
        The rotation.
    center
        ``(d,)`` float32, subtracted first; zeros unless the metric is l2.
    """

    metric: Metric
    rotation: Rotation
    center: FloatArray

    def enter(self, vectors: FloatArray, backend: BuildBackend) -> FloatArray:
        """Return ``(n, d)`` stored vectors centred or scaled, not yet rotated."""
        if self.metric == "l2":
            return vectors - self.center
        if self.metric == "dot":
            return np.ascontiguousarray(vectors)
        norms = np.sqrt(backend.squared_norms(np.ascontiguousarray(vectors)))
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0.0)
        return (vectors * inverse[:, None]).astype(np.float32)

    def rotate(self, entered: FloatArray, backend: BuildBackend) -> FloatArray:
        """Rotate what `enter` returned."""
        return self.rotation.apply(entered, backend)


class State(NamedTuple):
    """One state.

    Attributes
    ----------
    clusters
        What searches read.
    packed
        The same, as the backend takes it.
    coarse_of
        ``(n_fine,)`` the coarse cluster of each fine one, ascending.
    limits
        ``(n_fine,)`` int32: a cluster with more rows is split.
    n_indexed
        Rows below are in the index, or were dead when it passed them.
    n_built
        Rows that were built in.
    n_purged
        Rows that were dead when the index was last purged of dead rows.
    curve
        The calibration.
    """

    clusters: Clusters
    packed: Any
    coarse_of: RowArray
    limits: NumberArray
    n_indexed: int
    n_built: int
    n_purged: int
    curve: Curve

    @property
    def space(self) -> Space:
        """How vectors enter this index."""
        clusters = self.clusters
        rotation = Rotation(clusters.dimension, clusters.signs, clusters.order)
        return Space(clusters.metric, rotation, clusters.center)

    @property
    def mean_size(self) -> float:
        """Rows of a cluster when the index was built."""
        return self.n_built / len(self.clusters.fine)

    @property
    def n_bytes(self) -> int:
        """Memory that the index takes, the stored vectors not counted."""
        clusters = self.clusters
        arrays: list[NDArray[Any]] = [part for part in clusters if isinstance(part, np.ndarray)]
        cells = clusters.cells
        arrays += [cells.arena, cells.start, cells.capacity, self.coarse_of, self.limits]
        addresses = 16 * len(clusters.fine)
        return sum(array.nbytes for array in arrays) + cells.n_bytes + addresses


def centroids_of(clusters: Clusters) -> FloatArray:
    """Return the ``(n_fine, padded)`` float32 code centroids in rotated space.

    Rows are assigned by them: the nearest, which under cosine and dot (they are unit vectors) is
    the one with the nearest direction.
    """
    scale = clusters.facts[FACT.key_scale] * clusters.facts[FACT.length]
    centroids: FloatArray = clusters.fine * scale[:, None]
    return centroids
