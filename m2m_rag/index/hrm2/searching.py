"""The searching half of the index: every search reads one state, which growth never changes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from m2m_rag._threads import even_slices, in_parallel
from m2m_rag._types import FloatArray, MaskArray, RowArray, ScoreArray, Segment
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.compute.clustered import LOD, Probe, Work
from m2m_rag.index.flat import FlatIndex
from m2m_rag.index.hrm2.calibration import Curve, default_plan, expected_recall, probe_of
from m2m_rag.index.hrm2.explaining import Explanation, explain
from m2m_rag.index.hrm2.measuring import KS
from m2m_rag.index.hrm2.query_log import QueryLog
from m2m_rag.index.hrm2.router import Route, choose
from m2m_rag.index.hrm2.stage import Stage
from m2m_rag.index.hrm2.state import Settings, State

LEAST_K = KS[0][0]
"""The fewest results for which recall is measured."""
ROUTES_KEPT = 256
QUERIES_A_THREAD = 32
"""Queries that are worth a thread: about a millisecond."""
LOGGED_OF_BATCH = 16
"""Queries of a batch that the query log is offered, about."""


class Searching:
    """What `HRM2Index` needs to search; it makes the states."""

    settings: Settings
    flat: FlatIndex
    log: QueryLog
    _backend: ComputeBackend
    _state: State | None
    _routes: tuple[Curve, dict[Any, Route]]

    def search(
        self,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        n_allowed: int | None = None,
        recall: float | None = None,
        n_probe: int | None = None,
        lod: LOD = 1,
        state: State | None = None,
    ) -> tuple[RowArray, ScoreArray]:
        """Return the best k rows of each query, best first, ties to the lower row.

        Parameters
        ----------
        queries
            ``(m, d)`` float32.
        k
            At least 1.
        segments
            All stored rows.
        allowed
            One bool a row, or None for all.
        n_allowed
            How many rows are allowed, when the caller knows it.
        recall
            The share of the true best k to aim at; None: what a budget of time buys, at
            least 0.95 (`default_plan`).
        n_probe
            Clusters to probe, instead of what `recall` needs.
        lod
            0: codes alone, the scores are estimates. 1: to the recall. 2: exact.
        state
            Search this state; the present one when None.

        Returns
        -------
        rows, scores
            ``(m, min(k, n_allowed))`` int64 and float64.
        """
        answer = self.answer(queries, k, segments, allowed, n_allowed, recall, n_probe, lod, state)
        return answer[0], answer[1]

    def answer(
        self,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        n_allowed: int | None = None,
        recall: float | None = None,
        n_probe: int | None = None,
        lod: LOD = 1,
        state: State | None = None,
    ) -> tuple[RowArray, ScoreArray, RowArray, Route | None]:
        """Do what `search` does, and also return the cost and the way that was taken.

        Returns
        -------
        rows, scores
            As `search` returns them.
        work
            ``(m, 3)`` int64, a `Work` for each query.
        route
            The way taken last; None when there is no index.
        """
        state = self._state if state is None else state
        first_row, last = segments[-1]
        n_rows = first_row + len(last)
        if state is None:
            rows, scores = self.flat.search(queries, k, segments, allowed)
            return rows, scores, _all_read(queries, n_rows), None
        if n_allowed is None:
            n_allowed = n_rows if allowed is None else int(np.count_nonzero(allowed))
        route = self._route(state, n_rows, n_allowed, k, recall, n_probe, lod)
        if len(queries) == 1:
            self.log.add(queries[0])
        else:
            for query in queries[:: 1 + len(queries) // LOGGED_OF_BATCH]:
                self.log.add(query)
        return self._execute(state, route, queries, min(k, n_allowed), segments, allowed, lod)

    def search_progressive(
        self,
        query: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        recall: float | None = None,
        state: State | None = None,
    ) -> Iterator[Stage]:
        """Yield the answers of LOD 0, 1 and 2 to one ``(d,)`` query, each when it is known."""
        state = self._state if state is None else state
        began = time.perf_counter()
        for lod in (0, 1, 2):
            rows, scores, work, _ = self.answer(
                query[None], k, segments, allowed, recall=recall, lod=lod, state=state
            )
            expected = 1.0 if lod == 2 or state is None else float("nan")
            if lod == 1 and state is not None:
                n_fine = len(state.clusters.fine)
                n_rows = segments[-1].stop
                probe = default_plan(state.curve, k, 1.0, n_rows, n_fine).probe
                expected = expected_recall(state.curve, probe, k) if recall is None else recall
            elapsed_s = time.perf_counter() - began
            yield Stage(lod, rows[0], scores[0], expected, elapsed_s, Work(*work[0].tolist()))

    def explain(
        self,
        query: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None = None,
        *,
        row: int | None = None,
        recall: float | None = None,
        n_probe: int | None = None,
        lod: LOD = 1,
        state: State | None = None,
    ) -> Explanation:
        """Search for one ``(d,)`` query and say how, and why `row` was returned or not."""
        state = self._state if state is None else state
        began = time.perf_counter()
        rows, scores, work, route = self.answer(
            query[None], k, segments, allowed, recall=recall, n_probe=n_probe, lod=lod, state=state
        )
        total_s = time.perf_counter() - began
        score = None
        if row is not None:
            alone, metric = np.array([row]), self.settings.metric
            score = float(
                self._backend.search_rows(segments, alone, query[None], 1, metric)[1][0, 0]
            )
        return explain(
            state,
            route,
            lod,
            query,
            max(k, LEAST_K),
            segments,
            allowed,
            (rows[0], scores[0], Work(*work[0].tolist()), total_s),
            row,
            score,
            self._backend,
        )

    def _route(
        self,
        state: State,
        n_rows: int,
        n_allowed: int,
        k: int,
        recall: float | None,
        n_probe: int | None,
        lod: LOD,
    ) -> Route:
        """Choose the way; the last choices are kept, since choosing takes longer than probing."""
        n_fine = len(state.clusters.fine)
        key = (n_rows, n_allowed, k, recall, n_probe, lod, n_fine)
        curve, routes = self._routes
        if curve is not state.curve or len(routes) > ROUTES_KEPT:
            curve, routes = self._routes = state.curve, {}
        route = routes.get(key)
        if route is None:
            route = routes[key] = choose(
                curve, n_rows, n_allowed, k, recall, n_probe, lod, n_fine, state.clusters.dimension
            )
        return route

    def _execute(
        self,
        state: State,
        route: Route,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None,
        lod: LOD,
    ) -> tuple[RowArray, ScoreArray, RowArray, Route]:
        """Take a way; queries for which it finds too few rows take a longer one."""
        if k == 0:
            rows, scores = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0))
            return rows, scores, _all_read(queries, 0), route
        if route.probe is None:
            if route.kind == "exact":
                exact = self._backend.search_exactly(
                    state.packed, segments, state.n_indexed, queries, k, allowed
                )
                return *exact, route
            n_rows = segments[-1].stop
            chosen = np.arange(n_rows) if allowed is None else np.flatnonzero(allowed)
            found = self._backend.search_rows(segments, chosen, queries, k, self.settings.metric)
            return *found, _all_read(queries, len(chosen)), route
        rows, scores, work = self._probe(state, queries, k, segments, allowed, route.probe, lod)
        if len(rows) == 1 and rows[0, -1] >= 0:  # half a microsecond before what follows
            return rows, scores, work, route
        taken = route
        for i in np.flatnonzero(rows[:, -1] < 0).tolist():
            longer = self._further(route, queries[i], len(state.clusters.fine))
            one = self._execute(state, longer, queries[i : i + 1], k, segments, allowed, lod)
            rows[i], scores[i], taken = one[0][0], one[1][0], one[3]
            work[i] += one[2][0]
        return rows, scores, work, taken

    @staticmethod
    def _further(route: Route, query: FloatArray, n_fine: int) -> Route:
        """Return the way to take after one that found too few rows.

        All rows tie with a zero query: only exact search is right.
        """
        if route.probe is None or route.probe.n_probe >= n_fine or not query.any():
            return Route("chosen", None)
        return Route(
            "probe", probe_of(min(n_fine, 4 * route.probe.n_probe), route.probe.epsilon, n_fine)
        )

    def _probe(
        self,
        state: State,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None,
        probe: Probe,
        lod: LOD,
    ) -> tuple[RowArray, ScoreArray, RowArray]:
        """Probe for all queries, large batches on several threads.

        Fewer than `LEAST_K` results are the first of as many: recall is measured from there on.
        """
        search, packed, n_indexed = self._backend.search_clusters, state.packed, state.n_indexed
        asked, codes_only = max(k, LEAST_K), lod == 0
        if len(queries) < 2 * QUERIES_A_THREAD:
            rows, scores, work = search(
                packed, segments, n_indexed, queries, asked, probe, allowed, codes_only=codes_only
            )
        else:
            parts = in_parallel(
                lambda part: search(
                    packed, segments, n_indexed, part, asked, probe, allowed, codes_only=codes_only
                ),
                [queries[part] for part in even_slices(len(queries), QUERIES_A_THREAD)],
            )
            rows, scores, work = (np.concatenate(each) for each in zip(*parts, strict=True))
        return (rows[:, :k], scores[:, :k], work) if k < asked else (rows, scores, work)


def _all_read(queries: FloatArray, n_rows: int) -> RowArray:
    """Return what it costs each query to read so many rows."""
    return np.full((len(queries), len(Work._fields)), Work(0, 0, n_rows))
