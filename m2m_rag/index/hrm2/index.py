"""The HRM2 index: a state that searches read, and the operations that put the next one in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import MaskArray, Metric, RowArray, Segment
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.index.flat import FlatIndex
from m2m_rag.index.hrm2 import growing, measuring
from m2m_rag.index.hrm2.building import build
from m2m_rag.index.hrm2.calibration import (
    LEAST_TARGET,
    Curve,
    can_reach,
    default_plan,
    expected_recall,
)
from m2m_rag.index.hrm2.query_log import CAPACITY, QueryLog
from m2m_rag.index.hrm2.searching import Searching
from m2m_rag.index.hrm2.state import Settings, State

REBUILD_GROWTH = 4.0
"""An index whose rows have grown to so many times those it was built from is built anew."""
NO_CURVE = Curve(1, 0, 0, [])
REMEASURE_SEEN = 8
"""Recall is measured on real queries when the log is full, and when it saw so many times more."""
REMEASURE_GROWTH = 1.25
"""Recall is measured again when the index has grown to so many times the rows measured on."""
PURGE_SHARE = 0.05
"""Dead rows since the last purge, as a share of the codes, above which they are taken out."""


class HRM2Index(Searching):
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
        self._routes = (NO_CURVE, {})
        self.log = QueryLog(seed)

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
        stop = segments[-1].stop
        rows = np.arange(stop) if alive is None else np.flatnonzero(alive[:stop])
        if not len(rows):
            return
        with self._growing:
            clusters, coarse_of = build(segments, rows, self.settings, self._backend, check)
            packed = self._backend.pack(clusters)
            mean = len(rows) / len(clusters.fine)
            state = State(
                clusters, packed, coarse_of, growing.limits_of(clusters.sizes, mean), stop,
                len(rows), 0 if alive is None else int(np.count_nonzero(~alive[:stop])),
                NO_CURVE,
            )  # fmt: skip
            self._state = state
            self._state = state._replace(curve=self._measure(state, segments, rows, check))
            self.flat = FlatIndex(self._backend, self.settings.metric)  # drops 8 bytes a row

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
            stop = segments[-1].stop
            before = state
            state = growing.extend(
                state, segments, stop, alive, self.settings.seed, self._backend, check
            )
            if alive is not None:
                n_dead = int(np.count_nonzero(~alive[: state.n_indexed]))
                if n_dead > self._purge_bound(state):
                    state = growing.purge(state, segments, alive, n_dead, self._backend)
            self._state = state  # what follows may be interrupted
            if self._wants_measuring(state):
                rows = np.arange(state.n_indexed)
                rows = rows if alive is None else rows[alive[rows]]
                state = state._replace(curve=self._measure(state, segments, rows, check))
            self._state = state
            return state is not before

    def _measure(
        self, state: State, segments: Sequence[Segment], rows: RowArray, check: Callable[[], None]
    ) -> Curve:
        """Measure recall on real queries where there are enough, else on members."""
        seen = self.log.n_seen
        queries = self.log.sample() if seen >= CAPACITY else None
        curve = measuring.measure(
            state.clusters, state.packed, segments, rows, state.n_indexed, self.settings.seed,
            self._backend, check, queries,
        )  # fmt: skip
        return curve._replace(n_seen=seen if queries is not None else 0)

    def wants(self, n_live: int, n_dead: int) -> bool:
        """Tell whether there is work but for new rows: dead ones to purge, or a rebuild."""
        state = self._state
        if state is None:
            return False
        bound = self._purge_bound(state) + growing.GROUP  # so many may be dead beyond the index
        return n_dead > bound or self.wants_rebuild(n_live) or self._wants_measuring(state)

    @staticmethod
    def _purge_bound(state: State) -> float:
        """Return how many rows may be dead before the dead ones are taken out."""
        n_codes = int(state.clusters.sizes.sum())
        return state.n_purged + PURGE_SHARE * n_codes + growing.GROUP

    def _wants_measuring(self, state: State) -> bool:
        curve, seen = state.curve, self.log.n_seen
        if int(state.clusters.sizes.sum()) > REMEASURE_GROWTH * max(curve.n_rows, growing.GROUP):
            return True
        return seen >= max(CAPACITY, REMEASURE_SEEN * curve.n_seen)

    def wants_rebuild(self, n_live: int, n_waiting: int = 0) -> bool:
        """Tell whether the collection has outgrown its index.

        It has when more rows wait than the index holds, too: a row costs 100 to 155 µs to insert
        (the more come, the more clusters split) and 73 µs in a build of all.
        """
        state = self._state
        if state is None:
            return False
        return n_live > REBUILD_GROWTH * state.n_built or n_waiting > state.n_indexed

    def stats(self) -> dict[str, Any]:
        """Return the shape of the index, what it takes in memory and the recall it expects."""
        state = self._state
        if state is None:
            return {"kind": "flat"}
        clusters = state.clusters
        n_fine, n_codes = len(clusters.fine), int(clusters.sizes.sum())
        planned = default_plan(state.curve, 10, 1.0, n_codes, n_fine)
        probe = planned.probe
        is_probing = can_reach(state.curve, LEAST_TARGET, 10)
        return {
            "kind": "hrm2",
            "n_coarse": len(clusters.coarse),
            "n_fine": n_fine,
            "n_codes": n_codes,
            "n_indexed": state.n_indexed,
            "bytes": state.n_bytes + self.log.n_bytes,
            "measured_on": "queries" if state.curve.n_seen else "stand-ins",
            "n_probe": round(planned.clusters),
            "epsilon": probe.epsilon,
            "estimated_recall": expected_recall(state.curve, probe, 10) if is_probing else 1.0,
        }
