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


def _deeper(probe: Probe, n_fine: int) -> Probe:
    """Return the probe to try after one that found too few rows."""
    return probe_of(min(n_fine, 4 * probe.n_probe), probe.epsilon, n_fine)


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
            The share of the true best k to aim at; None: what a budget of time buys, at
            least 0.95 (`default_plan`).
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
        recall: float | None = None,
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
            rows, scores, work = self.search_with_work(
                query[None], k, segments, allowed, recall=recall, lod=lod, state=state
            )
            expected = 1.0 if lod == 2 or state is None else float("nan")
            if lod == 1 and state is not None:
                n_fine = len(state.clusters.fine)
                n_rows = segments[-1].first_row + len(segments[-1].vectors)
                probe = default_plan(state.curve, k, 1.0, n_rows, n_fine).probe
                expected = expected_recall(state.curve, probe, k) if recall is None else recall
            yield Stage(lod, rows[0], scores[0], expected, time.perf_counter() - began, work[0])

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
        rows, scores, work = self.search_with_work(
            query[None], k, segments, allowed, recall=recall, n_probe=n_probe, lod=lod, state=state
        )
        answer = rows[0], scores[0], work[0], time.perf_counter() - began
        route = None
        if state is not None:
            n_rows = segments[-1].first_row + len(segments[-1].vectors)
            n_allowed = n_rows if allowed is None else int(np.count_nonzero(allowed))
            route = self._route(state, n_rows, n_allowed, k, recall, n_probe, lod)
            route = self._taken(state, route, query, min(k, n_allowed), segments, allowed, lod)
        score = None
        if row is not None:
            alone = np.array([row])
            metric = self.settings.metric
            score = float(
                self._backend.search_rows(segments, alone, query[None], 1, metric)[1][0][0]
            )
        return explain(
            state,
            route,
            lod,
            query,
            max(k, LEAST_K),
            segments,
            allowed,
            answer,
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

    def _taken(
        self,
        state: State,
        route: Route,
        query: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None,
        lod: LOD,
    ) -> Route:
        """Return the way that `_execute` ends with when it is told to take a route."""
        if route.probe is None or k == 0:
            return route
        n_fine, probe = len(state.clusters.fine), route.probe
        while len(self._probe(state, query[None], k, segments, allowed, probe, lod)[0][0]) < k:
            if not query.any():
                return Route("chosen", None)
            if probe.n_probe >= n_fine:
                break
            probe = _deeper(probe, n_fine)
        return Route("probe", probe)

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
        all_rows, all_scores, all_work = self._probe(
            state, queries, k, segments, allowed, probe, lod
        )
        short = [i for i, rows in enumerate(all_rows) if len(rows) < k]
        if not short:
            return all_rows, all_scores, all_work
        for i in short:
            if not queries[i].any():  # all rows tie with a zero query: only exact search is right
                exact = Route("chosen", None)
                one = self._execute(state, exact, queries[i : i + 1], k, segments, allowed, lod)
                all_rows[i], all_scores[i], all_work[i] = one[0][0], one[1][0], one[2][0]
        short = [i for i in short if len(all_rows[i]) < k]
        while short and probe.n_probe < len(state.clusters.fine):
            probe = _deeper(probe, len(state.clusters.fine))
            asked = np.ascontiguousarray(queries[short])
            more = self._probe(state, asked, k, segments, allowed, probe, lod)
            for i, found, values, cost in zip(short, *more, strict=True):
                all_rows[i], all_scores[i] = found, values
                all_work[i] = Work(*(a + b for a, b in zip(all_work[i], cost, strict=True)))
            short = [i for i in short if len(all_rows[i]) < k]
        return all_rows, all_scores, all_work

    def _probe(
        self,
        state: State,
        queries: FloatArray,
        k: int,
        segments: Sequence[Segment],
        allowed: MaskArray | None,
        probe: Probe,
        lod: LOD,
    ) -> tuple[list[RowArray], list[ScoreArray], list[Work]]:
        """Probe for all queries, large batches on several threads.

        Fewer than `LEAST_K` results are the first of as many: recall is measured from there on.
        """

        def run(asked: FloatArray) -> tuple[list[RowArray], list[ScoreArray], list[Work]]:
            rows, scores, work = self._backend.search_clusters(
                state.packed, segments, state.n_indexed, asked, max(k, LEAST_K), probe, allowed,
                codes_only=lod == 0,
            )  # fmt: skip
            if k < LEAST_K:
                return [each[:k] for each in rows], [each[:k] for each in scores], work
            return rows, scores, work

        if len(queries) < 2 * QUERIES_A_THREAD:
            return run(queries)
        slices = even_slices(len(queries), QUERIES_A_THREAD)
        parts = in_parallel(run, [queries[part] for part in slices])
        rows = [each for part in parts for each in part[0]]
        scores = [each for part in parts for each in part[1]]
        return rows, scores, [each for part in parts for each in part[2]]
