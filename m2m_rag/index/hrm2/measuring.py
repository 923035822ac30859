"""Measuring a state's recall: members as queries, each without itself as an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray, Segment
from m2m_rag.compute.clustered import Clusters, Probe, Work
from m2m_rag.index.hrm2.calibration import EPSILONS, Curve, Point, cost_of, depths, probe_of
from m2m_rag.index.hrm2.reading import take

QUERIES = 256
KS = ((10, 256), (100, 64))
"""Results wanted, and how many queries are asked for as many."""
ENOUGH, LEAST_GAIN, DEEP = 0.9985, 0.001, 64
"""Recall at which measuring deeper ends; so does a smaller gain beyond so many probes."""


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
    ) -> tuple[list[RowArray], list[ScoreArray], list[Work]]:
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
    ) -> tuple[list[RowArray], list[ScoreArray]]:
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
    """Return the recall of the index of `rows` at several depths.

    Measured with `queries`, or with a sample of the rows, each without itself as an answer.
    """
    if not len(rows):
        return Curve(len(clusters.fine), 0, 0, [])
    if queries is None:
        generator = np.random.default_rng(seed)
        own = np.sort(generator.choice(rows, min(QUERIES, len(rows)), replace=False))
        queries = np.ascontiguousarray(take(segments, own))
    else:
        own = np.full(len(queries), -1)
    n_fine = len(clusters.fine)
    points = []
    n_rows = segments[-1].first_row + len(segments[-1].vectors)
    allowed = np.zeros(n_rows, dtype=np.bool_)
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
        for epsilon in EPSILONS:
            for n_probe in depths(n_fine):
                check()
                found, _, work = backend.search_clusters(
                    packed, segments, n_indexed, asked, k + 1,
                    probe_of(n_probe, epsilon, n_fine), allowed,
                )  # fmt: skip
                shares = [
                    len(best.intersection(_without(each, mine, k).tolist())) / len(best)
                    for each, mine, best in zip(found, selves, wanted, strict=True)
                ]
                recall = float(np.mean(shares))
                points.append(Point(k, n_probe, epsilon, recall, cost_of(*np.mean(work, axis=0))))
                is_flat = len(points) > 1 and recall - points[-2].recall < LEAST_GAIN
                if recall >= ENOUGH or (is_flat and n_probe > DEEP):
                    break
    return Curve(n_fine, int(clusters.sizes.sum()), 0, points)


def exact(
    segments: Sequence[Segment],
    n_indexed: int,
    queries: FloatArray,
    k: int,
    metric: Metric,
    allowed: MaskArray,
    backend: SearchBackend,
    check: Callable[[], None],
) -> list[RowArray]:
    """Return the exact best k allowed rows of each query, best first."""
    rows = [np.empty(0, dtype=np.int64)] * len(queries)
    scores = [np.empty(0)] * len(queries)
    for first, vectors in segments:
        for start in range(0, min(len(vectors), n_indexed - first), 1 << 16):
            check()
            part = vectors[start : min(start + (1 << 16), n_indexed - first)]
            mask = allowed[first + start : first + start + len(part)]
            more = backend.top_k(queries, part, backend.squared_norms(part), k, metric, mask)
            for i, (found, values) in enumerate(zip(*more, strict=True)):
                all_rows = np.concatenate([rows[i], found + first + start])
                all_scores = np.concatenate([scores[i], values])
                best = np.lexsort((all_rows, -all_scores))[:k]
                rows[i], scores[i] = all_rows[best], all_scores[best]
    return rows


def _without(rows: RowArray, mine: int, k: int) -> RowArray:
    others: RowArray = rows[rows != mine]
    return others[:k]
