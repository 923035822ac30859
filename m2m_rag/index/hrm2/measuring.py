"""Measuring a state's recall, at falling thresholds of the promise.

Until real queries have come, two kinds of stand-ins are measured, half of each: members, each
without itself as an answer, and means of two members. At the threshold -0.65, real queries found
0.963 (texts), 0.949 (texts, queries of another kind), 0.962 (SIFT) and 0.968 (SIFT with 19 noisy
copies of each) of the best ten; members 0.968, 0.965, 0.960 and 0.993, for each has its copies, and
means 0.956, 0.953, 0.955 and 0.918. Means with a near member were easier than either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray, Segment
from m2m_rag.compute.clustered import Clusters, Probe
from m2m_rag.index.flat import merged
from m2m_rag.index.hrm2.calibration import EPSILONS, Curve, Point, cost_of, promising
from m2m_rag.index.hrm2.reading import take

QUERIES = 384
EXACT_ROWS = 1 << 14
"""Rows that are compared with all queries at a time: 25 MB of products."""
KS = ((10, 384), (100, 64))
"""Results wanted, and how many queries are asked for as many."""
ENOUGH, LEAST_GAIN, LEAST_GROWTH = 0.9985, 0.001, 1.1
"""Recall at which measuring deeper ends; so does a smaller gain by so many times the clusters."""
FIRST, STRIDE, MOST_GROWTH = -0.2, 0.1, 1.8
"""The first threshold, by how much it falls, and the ratio of clusters probed from one threshold to
the next above which the stride is halved: below the first, all five sets tried probed the pilot's
clusters alone."""
MOST_POINTS = 30


class SearchBackend(Protocol):
    """What measuring needs of a compute backend (`m2m_rag.compute.base` specifies it)."""

    def search_clusters(
        self,
        packed: Any,
        segments: Sequence[Segment],
        n_indexed: int,
        queries: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None = None,
        *,
        codes_only: bool = False,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """Search an index."""
        ...

    def squared_norms(self, vectors: FloatArray) -> ScoreArray:
        """Return the squared norms of the rows."""
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
        """Return the exact best rows of each query."""
        ...


def measure(
    clusters: Clusters,
    packed: Any,
    segments: Sequence[Segment],
    rows: RowArray,
    n_indexed: int,
    seed: int,
    backend: SearchBackend,
    check: Callable[[], None] = lambda: None,
    queries: FloatArray | None = None,
) -> Curve:
    """Return the recall of the index of `rows` at several thresholds.

    Measured with `queries`, or with stand-ins.
    """
    if not len(rows):
        return Curve(len(clusters.fine), 0, 0, [])
    if queries is None:
        queries, own = stand_ins(segments, rows, clusters.metric, seed, backend)
    else:
        own = np.full(len(queries), -1)
    points: list[Point] = []
    n_rows = segments[-1].stop
    allowed = np.zeros(n_rows + 1, dtype=np.bool_)  # the last stands for a query that is no row
    allowed[rows] = True
    truth = exact(
        segments, n_indexed, queries, KS[-1][0] + 1, clusters.metric, allowed, backend, check
    )
    for k, n_asked in KS:
        step = max(1, len(queries) // n_asked)
        asked, selves = np.ascontiguousarray(queries[::step]), own[::step]
        wanted = [
            set(_without(found, mine, k).tolist())
            for found, mine in zip(truth[::step], selves, strict=True)
        ]
        if not all(wanted):
            continue

        exam = Exam(
            clusters, packed, segments, n_indexed, backend, check, allowed, k, asked, selves, wanted
        )
        for epsilon in EPSILONS:
            points += climb(partial(exam.point, epsilon), len(clusters.fine))
    return Curve(len(clusters.fine), int(clusters.sizes.sum()), 0, points)


class Exam(NamedTuple):
    """Queries with their true answers, and what is to answer them.

    Attributes
    ----------
    clusters, packed, segments, n_indexed, backend, check
        As for `measure`.
    allowed
        One bool a row, and one more.
    k
        Results wanted.
    asked, selves, wanted
        The queries, the row that each is, or -1, and their best k rows.
    """

    clusters: Clusters
    packed: Any
    segments: Sequence[Segment]
    n_indexed: int
    backend: SearchBackend
    check: Callable[[], None]
    allowed: MaskArray
    k: int
    asked: FloatArray
    selves: RowArray
    wanted: Sequence[set[int]]

    def point(self, epsilon: float, threshold: float) -> Point:
        """Measure one probe."""
        self.check()
        n_fine, n_codes = len(self.clusters.fine), int(self.clusters.sizes.sum())
        probe = promising(threshold, epsilon, self.k, 1.0, n_codes, n_fine)
        shares, work = [], []
        for query, mine, best in zip(self.asked, self.selves.tolist(), self.wanted, strict=True):
            self.allowed[mine] = False
            found, _, cost = self.backend.search_clusters(
                self.packed, self.segments, self.n_indexed, query[None], self.k, probe, self.allowed
            )
            self.allowed[mine] = True
            shares.append(len(best.intersection(found[0].tolist())) / len(best))
            work.append(cost[0])
        clusters, codes, vectors = np.mean(work, axis=0).tolist()
        recall, cost_us = float(np.mean(shares)), cost_of(clusters, codes, vectors)
        return Point(self.k, epsilon, threshold, clusters, recall, cost_us)


def climb(ask: Callable[[float], Point], n_fine: int) -> list[Point]:
    """Measure at falling thresholds until recall is enough or all is probed."""
    points: list[Point] = []
    threshold, stride = FIRST, STRIDE
    while len(points) < MOST_POINTS:
        points.append(ask(threshold))
        clusters, recall = points[-1].clusters, points[-1].recall
        if recall >= ENOUGH or clusters >= n_fine:
            break
        if len(points) > 1:
            growth = clusters / max(points[-2].clusters, 1.0)
            stride *= 0.5 if growth > MOST_GROWTH else 1.0
            if recall - points[-2].recall < LEAST_GAIN and growth > LEAST_GROWTH:
                break
        threshold -= stride
    return points


def stand_ins(
    segments: Sequence[Segment],
    rows: RowArray,
    metric: Metric,
    seed: int,
    backend: SearchBackend,
) -> tuple[FloatArray, RowArray]:
    """Return queries for want of real ones, and the row that each is, or -1."""
    generator = np.random.default_rng(seed)
    own = generator.choice(rows, min(QUERIES, len(rows)), replace=False)
    partners = generator.choice(rows, len(own))
    queries, others = (_scaled(segments, each, metric, backend) for each in (own, partners))
    queries[1::2] = (queries[1::2] + others[1::2]) / 2.0
    own[1::2] = -1
    return np.ascontiguousarray(queries), own


def _scaled(
    segments: Sequence[Segment], rows: RowArray, metric: Metric, backend: SearchBackend
) -> FloatArray:
    """Return rows' vectors, of unit length under cosine."""
    order = np.argsort(rows)
    vectors = np.empty((len(rows), segments[0].vectors.shape[1]), dtype=np.float32)
    vectors[order] = take(segments, rows[order])
    if metric == "cosine":
        norms = np.sqrt(backend.squared_norms(vectors))
        vectors /= np.where(norms > 0.0, norms, 1.0)[:, None]
    return vectors


def exact(
    segments: Sequence[Segment],
    n_indexed: int,
    queries: FloatArray,
    k: int,
    metric: Metric,
    allowed: MaskArray,
    backend: SearchBackend,
    check: Callable[[], None],
) -> RowArray:
    """Return the exact best k allowed rows of each query, best first, as a matrix."""
    rows, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0))
    for first, vectors in segments:
        for start in range(0, min(len(vectors), n_indexed - first), EXACT_ROWS):
            check()
            part = vectors[start : min(start + EXACT_ROWS, n_indexed - first)]
            mask = allowed[first + start : first + start + len(part)]
            found, values = backend.top_k(
                queries, part, backend.squared_norms(part), k, metric, mask
            )
            rows, scores = merged([(rows, scores), (found + first + start, values)], k)
    return rows


def _without(rows: RowArray, mine: int, k: int) -> RowArray:
    others: RowArray = rows[rows != mine]
    return others[:k]
