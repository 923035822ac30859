"""The HRM2 index: a state that searches read, and the operations that put the next one in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import FloatArray, MaskArray, Metric, RowArray, ScoreArray, Segment
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.compute.clustered import LOD, Work
from m2m_rag.index.flat import FlatIndex
from m2m_rag.index.hrm2 import growing, measuring
from m2m_rag.index.hrm2.building import build
from m2m_rag.index.hrm2.calibration import expected_recall, plan, probe_of
from m2m_rag.index.hrm2.router import Route, choose
from m2m_rag.index.hrm2.stage import Stage
from m2m_rag.index.hrm2.state import Settings, State

RECALL = 0.95
"""The recall that a search aims at when none is given."""
REBUILD_GROWTH = 4.0
"""An index whose rows have grown to so many times those it was built from is built anew."""
REMEASURE_GROWTH = 1.25
"""Recall is measured again when the index has grown to so many times the rows measured on."""
PURGE_SHARE = 0.05
"""Dead rows since the last purge, as a share of all, above which they are taken out."""


class HRM2Index:
    """Approximate top k with a recall target, exact on demand.

    Until `build` has run, every search is exact, by the flat index.

    Parameters
    ----------
    backend
        Computes.
    metric
        Which score.
    n_coarse, n_fine
        Clusters of either level; None follows the number of rows.
    seed
        One seed gives one index, whatever the backend.
    """

    def __init__(
        self,
        backend: ComputeBackend,
        metric: Metric,
        *,
        n_coarse: int | None = None,
        n_fine: int | None = None,
        seed: int = 42,
    ) -> None:
        self.settings = Settings(metric, n_coarse, n_fine, seed)
        self.flat = FlatIndex(backend, metric)
        self._backend = backend
        self._state: State | None = None
        self._growing = ForkSafeLock()

    @property
    def state(self) -> State | None:
        """The present state, or None before the first build."""
        return self._state

    def put(self, state: State | None) -> None:
        """Put a state in place, as a snapshot brings it."""
        self._state = state

    def build(
        self,
        segments: Sequence[Segment],
        alive: MaskArray | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Build the index of all rows that are alive and put it in place.

        Parameters
        ----------
        segments
            The stored rows.
        alive
            One bool a row, or None for all.
        check
            Called often; what it raises ends the build and leaves the index as it was.
        """
        stop = segments[-1].first_row + len(segments[-1].vectors)
        stop -= stop % growing.GROUP
        rows = np.arange(stop) if alive is None else np.flatnonzero(alive[:stop])
        if not len(rows):
            return
        with self._growing:
            clusters, coarse_of = build(segments, rows, self.settings, self._backend, check)
            packed = self._backend.pack(clusters)
            curve = measuring.measure(
                clusters, packed, segments, rows, stop, self.settings.seed, self._backend, check
            )
            mean = len(rows) / len(clusters.fine)
            self._state = State(
                clusters, packed, coarse_of, growing.limits_of(clusters.sizes, mean), stop,
                len(rows), 0 if alive is None else int(np.count_nonzero(~alive[:stop])), curve,
            )  # fmt: skip

    def extend(
        self,
        segments: Sequence[Segment],
        alive: MaskArray | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> bool:
        """Take in new rows, and take dead ones out; return whether anything changed.

        `alive` and `check` are those of `build`.
        """
        with self._growing:
            state = self._state
            if state is None or not segments:
                return False
            stop = segments[-1].first_row + len(segments[-1].vectors)
            before = state
            state = growing.extend(state, segments, stop, alive, self.settings.seed, self._backend)
            if alive is not None:
                n_dead = int(np.count_nonzero(~alive[: state.n_indexed]))
                if n_dead > state.n_purged + PURGE_SHARE * state.n_indexed + growing.GROUP:
                    state = growing.purge(state, segments, alive, n_dead, self._backend)
            if int(state.clusters.sizes.sum()) > REMEASURE_GROWTH * state.curve.n_rows:
                rows = np.arange(state.n_indexed)
                state = state._replace(
                    curve=measuring.measure(
                        state.clusters,
                        state.packed,
                        segments,
                        rows if alive is None else rows[alive[rows]],
                        state.n_indexed,
                        self.settings.seed,
                        self._backend,
                        check,
                    )
                )
            self._state = state
            return state is not before

    def wants(self, n_live: int, n_dead: int) -> bool:
        """Tell whether there is work but for new rows: dead ones to purge, or a rebuild."""
        state = self._state
        if state is None:
            return False
        bound = state.n_purged + PURGE_SHARE * state.n_indexed + growing.GROUP
        return n_dead > bound or self.wants_rebuild(n_live)

    def wants_rebuild(self, n_live: int) -> bool:
        """Tell whether the collection has outgrown its index."""
        return self._state is not None and n_live > REBUILD_GROWTH * self._state.n_built

    def search(
        self,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        n_allowed: int | None = None,
        recall: float = RECALL,
        n_probe: int | None = None,
        lod: LOD = 1,
        state: State | None = None,
    ) -> tuple[list[RowArray], list[ScoreArray]]:
        """Return the best k rows of each query, best first, ties to the lower row.

        Parameters
        ----------
        queries
            ``(m, d)`` float32.
        k
            At least 1. With m rows allowed, min(k, m) come back.
        segments
            All stored rows.
        allowed
            One bool a row, or None for all.
        n_allowed
            How many rows are allowed, when the caller knows it.
        recall
            The share of the true best k to aim at.
        n_probe
            Clusters to probe, instead of what `recall` needs.
        lod
            0: codes alone, the scores are estimates. 1: to the recall. 2: exact.
        state
            Search this state; the present one when None.
        """
        rows, scores, _ = self.search_with_work(
            queries, k, segments, allowed, n_allowed=n_allowed, recall=recall, n_probe=n_probe,
            lod=lod, state=state,
        )  # fmt: skip
        return rows, scores

    def search_with_work(
        self,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        n_allowed: int | None = None,
        recall: float = RECALL,
        n_probe: int | None = None,
        lod: LOD = 1,
        state: State | None = None,
    ) -> tuple[list[RowArray], list[ScoreArray], list[Work]]:
        """Do what `search` does, and also return what each query cost."""
        state = self._state if state is None else state
        n_rows = segments[-1].first_row + len(segments[-1].vectors)
        if state is None:
            rows, scores = self.flat.search(queries, k, segments, allowed)
            return rows, scores, [Work(0, 0, n_rows)] * len(queries)
        if n_allowed is None:
            n_allowed = n_rows if allowed is None else int(np.count_nonzero(allowed))
        n_fine = len(state.clusters.fine)
        route = choose(state.curve, n_rows, n_allowed, k, recall, n_probe, lod, n_fine)
        if not queries.any(axis=1).all():  # all rows tie with a zero query: only exact is right
            route = Route("chosen", None)
        return self._execute(state, route, queries, min(k, n_allowed), segments, allowed, lod)

    def search_progressive(
        self,
        query: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        recall: float = RECALL,
        state: State | None = None,
    ) -> Iterator[Stage]:
        """Yield the answers of LOD 0, 1 and 2 to one ``(d,)`` query, each when it is known."""
        state = self._state if state is None else state
        began = time.perf_counter()
        for lod in (0, 1, 2):
            rows, scores, work = self.search_with_work(
                query[None], k, segments, allowed, recall=recall, lod=lod, state=state
            )
            expected = 1.0 if lod == 2 or state is None else recall if lod == 1 else float("nan")
            yield Stage(lod, rows[0], scores[0], expected, time.perf_counter() - began, work[0])

    def stats(self) -> dict[str, Any]:
        """Return the shape of the index, what it takes in memory and the recall it expects."""
        state = self._state
        if state is None:
            return {"kind": "flat"}
        clusters = state.clusters
        probe = plan(state.curve, RECALL, 10, len(clusters.fine))
        return {
            "kind": "hrm2",
            "n_coarse": len(clusters.coarse),
            "n_fine": len(clusters.fine),
            "n_codes": int(clusters.sizes.sum()),
            "n_indexed": state.n_indexed,
            "bytes": state.n_bytes,
            "n_probe": probe.n_probe,
            "epsilon": probe.epsilon,
            "estimated_recall": expected_recall(state.curve, probe, 10),
        }

    def _execute(
        self,
        state: State,
        route: Route,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None,
        lod: LOD,
    ) -> tuple[list[RowArray], list[ScoreArray], list[Work]]:
        if k == 0:
            none = np.empty(0, dtype=np.int64), np.empty(0), Work(0, 0, 0)
            return [none[0]] * len(queries), [none[1]] * len(queries), [none[2]] * len(queries)
        if route.kind == "chosen":
            chosen = (
                np.flatnonzero(allowed)
                if allowed is not None
                else np.arange(segments[-1].first_row + len(segments[-1].vectors))
            )
            rows, scores = self._backend.search_rows(
                segments, chosen, queries, k, self.settings.metric
            )
            return rows, scores, [Work(0, 0, len(chosen))] * len(queries)
        packed, n_indexed = state.packed, state.n_indexed
        if route.kind == "exact":
            return self._backend.search_exactly(packed, segments, n_indexed, queries, k, allowed)
        probe = route.probe or probe_of(1, 1.0, 1)
        all_rows, all_scores, all_work = self._backend.search_clusters(
            packed, segments, n_indexed, queries, k, probe, allowed, codes_only=lod == 0
        )
        n_fine = len(state.clusters.fine)
        short = [i for i, rows in enumerate(all_rows) if len(rows) < k]
        n_probe = probe.n_probe
        while short and n_probe < n_fine:
            n_probe = min(n_fine, 4 * n_probe)
            more = self._backend.search_clusters(
                packed, segments, n_indexed, np.ascontiguousarray(queries[short]), k,
                probe_of(n_probe, probe.epsilon, n_fine), allowed, codes_only=lod == 0,
            )  # fmt: skip
            for i, found, values, cost in zip(short, *more, strict=True):
                all_rows[i], all_scores[i] = found, values
                all_work[i] = Work(*(a + b for a, b in zip(all_work[i], cost, strict=True)))
            short = [i for i in short if len(all_rows[i]) < k]
        return all_rows, all_scores, all_work
