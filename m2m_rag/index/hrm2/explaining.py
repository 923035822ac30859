"""Why a search found what it found: the way taken, what it cost, and the fate of one row."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, RowArray, ScoreArray, Segment
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.compute.clustered import LANES, LOD, WORD_BITS, Work, block_bytes
from m2m_rag.index.hrm2.router import Route
from m2m_rag.index.hrm2.state import State


class Explanation(NamedTuple):
    """What one search did.

    Attributes
    ----------
    way
        ``"flat"``, ``"probe"``, ``"exact"`` or ``"chosen"`` (see `m2m_rag.index.hrm2.router`).
    lod
        The level of detail.
    n_probe, epsilon
        How far it might go; 0 where nothing is probed.
    work
        Clusters probed, codes scanned, vectors read.
    bytes_read
        By what was read: ``"centroids"``, ``"codes"`` and ``"vectors"``.
    time_s
        By level: ``"route"`` and ``"probe"``, measured for this query.
    clusters
        The fine clusters probed, best first.
    rows, scores
        The answer.
    why
        Why the row that was asked about was returned or not; None when none was.
    """

    way: str
    lod: LOD
    n_probe: int
    epsilon: float
    work: Work
    bytes_read: dict[str, int]
    time_s: dict[str, float]
    clusters: list[int]
    rows: RowArray
    scores: ScoreArray
    why: str | None


def explain(
    state: State | None,
    route: Route | None,
    lod: LOD,
    query: FloatArray,
    k: int,
    segments: Sequence[Segment],
    allowed: MaskArray | None,
    answer: tuple[RowArray, ScoreArray, Work, float],
    row: int | None,
    score: float | None,
    backend: ComputeBackend,
) -> Explanation:
    """Explain an answer.

    Parameters
    ----------
    state, route
        What was searched and how; None for flat search.
    lod, query, k, segments, allowed
        What was asked.
    answer
        Rows, scores, work and seconds.
    row, score
        The row asked about and its exact score, or None.
    backend
        Routes again, to measure it.
    """
    rows, scores, work, total_s = answer
    d = len(query)
    probe = None if route is None else route.probe
    clusters: list[int] = []
    route_s, centroid_bytes, code_bytes = 0.0, 0, 0
    if state is not None and probe is not None:
        began = time.perf_counter()
        backend.route_clusters(state.packed, query, probe)
        route_s = time.perf_counter() - began
        clusters = backend.probed_clusters(
            state.packed, segments, state.n_indexed, query, k, probe, allowed, codes_only=lod == 0
        ).tolist()
        parts = state.clusters
        centroid_bytes = parts.coarse.nbytes + parts.centroid_blocks.nbytes + probe.n_candidates * d
    if state is not None:
        code_bytes = work.codes * block_bytes(state.space.rotation.padded // WORD_BITS) // LANES
    return Explanation(
        way="flat" if route is None else route.kind,
        lod=lod,
        n_probe=0 if probe is None else probe.n_probe,
        epsilon=0.0 if probe is None else probe.epsilon,
        work=work,
        bytes_read={
            "centroids": centroid_bytes,
            "codes": code_bytes,
            "vectors": 4 * d * work.vectors,
        },
        time_s={"route": route_s, "probe": max(total_s - route_s, 0.0)},
        clusters=clusters,
        rows=rows,
        scores=scores,
        why=None
        if row is None
        else _fate(state, route, allowed, rows, scores, clusters, row, score),
    )


def _fate(
    state: State | None,
    route: Route | None,
    allowed: MaskArray | None,
    rows: RowArray,
    scores: ScoreArray,
    clusters: list[int],
    row: int,
    score: float | None,
) -> str:
    found = np.flatnonzero(rows == row)
    if len(found):
        return f"returned: number {found[0] + 1} of {len(rows)}, score {score}"
    if allowed is not None and not allowed[row]:
        return "not returned: deleted, or the filter excludes it"
    least = float(scores[-1]) if len(scores) else float("-inf")
    if score is not None and score <= least:
        return f"not returned: its score {score} does not pass the last one returned, {least}"
    if state is None or route is None or route.kind != "probe":
        return "not returned"
    if row >= state.n_indexed:
        return "not returned, although it is read in every search: this is a fault, report it"
    own = cluster_of(state, row)
    if own not in clusters:
        return (
            f"not returned, although its score {score} passes {least}: it lies in cluster {own}, "
            f"which is not among the {len(clusters)} probed. A higher recall or n_probe finds it."
        )
    return (
        f"not returned, although its score {score} passes {least}: its cluster {own} was probed, "
        "but the estimate from its code fell short by more than the bound. Ask for more recall."
    )


def cluster_of(state: State, row: int) -> int:
    """Return the fine cluster that holds a row, or -1."""
    for number, size in enumerate(state.clusters.sizes.tolist()):
        if (state.clusters.cells.rows(number)[:size] == row).any():
            return number
    return -1
