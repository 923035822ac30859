"""The reference for clustered search: one query's way, each step as its definition says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from m2m_rag._types import FloatArray, MaskArray, RowArray, ScoreArray, Segment
from m2m_rag.compute.clustered import (
    FACT,
    LANES,
    LOST,
    PILOT_ROWS,
    PLANES,
    POOL_A_RESULT,
    QUEUE,
    RANK_PENALTY,
    ROUNDING,
    SPACING,
    UNBIASED,
    Clusters,
    Probe,
    Work,
)
from m2m_rag.compute.numpy_backend.routing import find_cut, quantise

if TYPE_CHECKING:
    from m2m_rag.compute.numpy_backend.clustered import ClusteredSearch

F32 = np.float32


class Query:
    """One query's way through the clusters."""

    def __init__(
        self,
        backend: ClusteredSearch,
        clusters: Clusters,
        segments: Sequence[Segment],
        n_indexed: int,
        query: FloatArray,
        k: int,
        probe: Probe,
        allowed: MaskArray | None,
    ) -> None:
        self.backend, self.clusters, self.segments = backend, clusters, segments
        self.query, self.k, self.plan, self.allowed = query, k, probe, allowed
        self.n_indexed = n_indexed
        self.n_rows = segments[-1].stop if segments else 0
        if clusters.metric == "cosine":
            norm = np.sqrt(backend.squared_norms(query[None])[0])
            used = (query * (1.0 / norm if norm > 0.0 else 0.0)).astype(np.float32)
        else:
            used = query - clusters.center if clusters.metric == "l2" else query
        self.used = used
        length = (
            1.0 if clusters.metric == "cosine" else np.sqrt(backend.squared_norms(used[None])[0])
        )
        self.length = float(length) if query.any() or clusters.metric == "l2" else 0.0
        self.rotated = backend.rotate(used[None], clusters.signs, clusters.order)[0]
        self.planes, step = quantise(self.rotated, self.length, SPACING, PLANES)
        self.step = float(step * F32(UNBIASED))
        self.norm2 = F32(self.length * self.length)
        self.best: list[tuple[np.float32, int]] = []
        self.n_read = 0
        self.keys = np.empty(0, dtype=np.float32)
        self.probed = np.empty(0, dtype=np.int64)

    def run(self, codes_only: bool) -> tuple[RowArray, ScoreArray, Work]:
        """Return rows, scores and what it cost."""
        if self.length == 0.0 and self.clusters.metric != "l2":
            return np.empty(0, dtype=np.int64), np.empty(0), Work(0, 0, 0)
        numbers, keys = self.candidates()
        route = self._based(numbers, keys)
        wanted = int(PILOT_ROWS * self.k / self.plan.share)
        n_pilot = n_codes = 0
        while n_pilot < len(route) and n_codes < wanted:
            n_codes += LANES * self._n_blocks(route[n_pilot][0])
            n_pilot += 1
        for number, base in route[:n_pilot]:
            for estimate, _, row in self._estimates(number, base):
                self._keep(estimate, row)
        if self.plan.threshold > -np.inf:
            route += self._widened([number for number, _ in route])
        taken = route[: max(n_pilot, self.plan.n_probe)]
        if self.plan.threshold > -np.inf:
            taken = taken[:n_pilot] + self._promising(taken, n_pilot)
        self.probed = np.array([number for number, _ in taken], dtype=np.int64)
        if codes_only:
            for number, base in taken[n_pilot:]:
                for estimate, _, row in self._estimates(number, base):
                    self._keep(estimate, row)
            self._read_rest()
            return *self._estimated(), self._work()
        pilot = [row for _, row in self.best]
        self.best = []
        for row in pilot:
            self._read(row)
        self._collect(taken, set(pilot))
        self._read_rest()
        rows = np.array(sorted(row for _, row in self.best), dtype=np.int64)
        scores = np.array([self._canonical(row) for row in rows.tolist()])
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order], self._work()

    def _collect(self, taken: list[tuple[int, np.float32]], pilot: set[int]) -> None:
        """Put the rows whose estimate plus bound passes the bar into a pool, and read from it."""
        scale = self.length * self.clusters.reach
        if self.clusters.metric == "l2":
            scale = (self.length + self.clusters.reach) ** 2
        slack = F32(ROUNDING * (len(self.rotated) + 16) * scale)
        spread2 = F32(self.clusters.spread) * F32(self.clusters.spread)
        pool: list[tuple[np.float32, int, np.float32]] = []
        for number, base in taken:
            away2 = spread2 * max(self._aim(number, base)[2], F32(0.0)) + F32(LOST) * self.norm2
            reach = F32(self.plan.epsilon) * np.sqrt(away2)
            codes = list(self._estimates(number, base))
            for start in range(0, len(codes), LANES):  # the bar is looked at once a block
                bar = self._bar() - slack
                for estimate, factor, row in codes[start : start + LANES]:
                    most = estimate + factor * reach
                    if most > bar:
                        if len(pool) == POOL_A_RESULT * self.k:
                            self._read_pool(pool, pilot, slack)
                            pool = []
                        pool.append((-estimate, row, most))
        self._read_pool(pool, pilot, slack)

    def _read_pool(
        self,
        pool: list[tuple[np.float32, int, np.float32]],
        pilot: set[int],
        slack: np.float32,
    ) -> None:
        """Read a pool, best estimate first; the bar is known up to what waits in the queue."""
        queue: list[int] = []
        for _, row, most in sorted(pool):
            if row not in pilot and most > self._bar() - slack:
                queue.append(row)
                if len(queue) > QUEUE:
                    self._read(queue.pop(0))
        for row in queue:
            self._read(row)

    def _widened(self, known: list[int]) -> list[tuple[int, np.float32]]:
        """Return the other clusters whose estimated keys promise enough, best first."""
        clusters = self.clusters
        if len(known) == len(clusters.fine):
            return []
        found = []
        for slot, key in zip(clusters.centroid_slots.tolist(), self.keys, strict=True):
            if slot >= 0 and slot not in known:
                ((number, base),) = self._based(np.array([slot]), np.array([key]))
                if self._passes(number, base, len(known)):
                    found.append(slot)
        numbers = np.array(found, dtype=np.int64)
        return self._based(*self._compared(numbers))

    def _passes(self, number: int, base: np.float32, place: int) -> bool:
        """Tell whether a cluster's promise, at a place of the route, reaches the threshold."""
        along, placed, distance2 = self._aim(number, base)
        facts = self.clusters.facts[:, number]
        above = facts[FACT.middle] * F32(along) + F32(placed) - self._bar()
        wanted = F32(self.plan.threshold)
        for _ in range((1 + place).bit_length() - 1):
            wanted += F32(RANK_PENALTY)
        return bool(above >= wanted * (facts[FACT.width] * np.sqrt(max(distance2, F32(0.0)))))

    def _promising(
        self, taken: list[tuple[int, np.float32]], first: int
    ) -> list[tuple[int, np.float32]]:
        """Return the clusters from place `first` on whose promise reaches the threshold."""
        return [
            (number, base)
            for place, (number, base) in enumerate(taken[first:], start=first)
            if self._passes(number, base, place)
        ]

    def _work(self) -> Work:
        n_codes = sum(LANES * self._n_blocks(number) for number in self.probed.tolist())
        return Work(len(self.probed), n_codes, self.n_read)

    def _n_blocks(self, number: int) -> int:
        return -(-int(self.clusters.sizes[number]) // LANES)

    def candidates(self) -> tuple[RowArray, FloatArray]:
        """Return the clusters compared exactly before the pilot, best first, and their keys."""
        clusters = self.clusters
        if self.plan.n_candidates >= len(clusters.fine):
            return self._compared(np.arange(len(clusters.fine)))
        values = []
        for coarse, start, stop in zip(
            clusters.coarse, clusters.coarse_first, clusters.coarse_first[1:], strict=False
        ):
            base = float(self.rotated @ coarse)
            blocks = clusters.centroid_blocks[start:stop]
            values.append(self.backend.scan_codes(blocks, self.planes, self.step, 1.0, base))
        self.keys = np.concatenate(values)
        passed = self.keys > find_cut(self.keys, self.plan.n_candidates)
        return self._compared(clusters.centroid_slots[passed].astype(np.int64))

    def _compared(self, numbers: RowArray) -> tuple[RowArray, FloatArray]:
        """Return some clusters, best first, and their keys."""
        scale, bias = (
            self.clusters.facts[fact, numbers] for fact in (FACT.key_scale, FACT.key_bias)
        )
        keys = (self.clusters.fine[numbers].astype(np.float32) @ self.rotated) * scale + bias
        order = np.lexsort((numbers, -keys))
        return numbers[order].astype(np.int64), keys[order]

    def _based(self, numbers: RowArray, keys: FloatArray) -> list[tuple[int, np.float32]]:
        """Return clusters with their inner products with the query."""
        facts = self.clusters.facts
        bases = (keys - facts[FACT.key_bias, numbers]) * facts[FACT.length, numbers]
        return list(zip(numbers.tolist(), bases, strict=True))

    def _estimates(self, number: int, base: np.float32) -> list[tuple[np.float32, np.float32, int]]:
        """Return (estimate, scale, row) of each lane, NaN where the row is not wanted."""
        blocks = self.clusters.cells.codes(number)[: self._n_blocks(number)]
        rows = self.clusters.cells.rows(number)
        along, placed, _ = self._aim(number, base)
        estimates = self.backend.scan_codes(blocks, self.planes, self.step, along, placed)
        factors = np.ascontiguousarray(blocks[:, -64:-32]).view(np.float32).ravel()
        return [
            (estimate if self._is_wanted(row) else F32(np.nan), factor, row)
            for estimate, factor, row in zip(estimates, factors, rows.tolist(), strict=False)
        ]

    def _aim(self, number: int, base: np.float32) -> tuple[float, float, np.float32]:
        """Return what takes a code's offset to its value, and the squared |q - part along c|."""
        norm2 = self.clusters.facts[FACT.norm2, number]
        if self.clusters.metric == "l2":
            return 1.0, float(base), self.norm2 + norm2 - F32(2.0) * base
        return float(base), 0.0, self.norm2 - base * base / norm2

    def _is_wanted(self, row: int) -> bool:
        return 0 <= row < self.n_indexed and (self.allowed is None or bool(self.allowed[row]))

    def _bar(self) -> np.float32:
        return F32(-np.inf) if len(self.best) < self.k else min(self.best)[0]

    def _keep(self, value: np.float32, row: int) -> None:
        if value > self._bar():
            if len(self.best) == self.k:
                self.best.remove(min(self.best))
            self.best.append((value, row))

    def _read(self, row: int) -> None:
        self._keep(self._value(row), row)
        self.n_read += 1

    def _read_rest(self) -> None:
        """Read the rows that the index does not hold yet."""
        for row in range(self.n_indexed, self.n_rows):
            if self.allowed is None or self.allowed[row]:
                self._read(row)

    def _vector(self, row: int) -> FloatArray:
        segment = next(s for s in reversed(self.segments) if s.first_row <= row)
        vector: FloatArray = segment.vectors[row - segment.first_row]
        return vector

    def _value(self, row: int) -> np.float32:
        vector = self._vector(row)
        if self.clusters.metric == "cosine":
            wide = vector.astype(np.float64)
            norm2 = float(wide @ wide)
            return F32(self.used.astype(np.float64) @ wide / np.sqrt(norm2)) if norm2 else F32(0.0)
        if self.clusters.metric == "l2":
            difference = self.query - vector
            return (self.norm2 - F32(difference @ difference)) * F32(0.5)
        return F32(self.query @ vector)

    def _canonical(self, row: int) -> float:
        vector = self._vector(row)[None]
        norms2 = self.backend.squared_norms(vector)
        metric = self.clusters.metric
        return float(self.backend.scores(self.query, vector, norms2, metric)[0])

    def _estimated(self) -> tuple[RowArray, ScoreArray]:
        values = np.array([float(value) for value, _ in self.best])
        rows = np.array([row for _, row in self.best], dtype=np.int64)
        if self.clusters.metric == "l2":
            values = 0.0 - np.sqrt(np.maximum(self.length**2 - 2.0 * values, 0.0))
        elif self.clusters.metric == "cosine":
            values = np.clip(values, -1.0, 1.0)
        order = np.lexsort((rows, -values))
        return rows[order], values[order]
