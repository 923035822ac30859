"""Measuring: build each method once, then every setting of every method in turns, round by round.

In turns, because a shared machine is faster in one minute than in the next: within a round all
methods meet the same minute, and over several rounds the best of each setting counts. A round asks
all queries of a setting again and again for a quarter of a second and takes the mean: of passes of
30 ms, the best of three differed by 28 % between two runs, while those of slow methods, which meet
good and bad moments alike, differed by 2 %. CPU time is that of the whole process, so threads that
a library starts are counted; its best round and that of wall time are chosen apart, and the
latencies are those of the round with the best wall time.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from m2m_rag._types import RowArray, ScoreArray
from m2m_rag.bench.base import Method, Setting, Size
from m2m_rag.bench.data import DataSet

N_WARM_QUERIES = 5
LEAST_S = 0.25
"""A round measures each setting for so long, at least."""
Say = Callable[[str], None]


class Elapsed(NamedTuple):
    """Seconds that a call took."""

    cpu_s: float
    wall_s: float


@dataclass
class Built:
    """A method with its index, and what building it cost."""

    method: Method
    warm_up: Elapsed
    build: Elapsed
    size: Size | None


@dataclass
class Sample:
    """The best of what the rounds gave for one setting of one method."""

    built: Built
    setting: Setting
    n_queries: int
    recall: float = 0.0
    cpu_s: float = float("inf")
    latencies_s: ScoreArray = field(default_factory=lambda: np.full(1, np.inf))
    batch_recall: float | None = None
    batch: Elapsed | None = None

    def row(self) -> dict[str, Any]:
        """Return the sample as the report holds it."""
        p50, p95, p99 = _percentiles(1e6 * self.latencies_s)
        size, n = self.built.size, self.n_queries
        return {
            "method": self.built.method.name,
            "setting": self.setting,
            "n_queries": n,
            "recall": self.recall,
            "qps_cpu": n / self.cpu_s,
            "qps_wall": 1.0 / float(self.latencies_s.mean()),
            "p50_us": p50,
            "p95_us": p95,
            "p99_us": p99,
            "batch_recall": self.batch_recall,
            "batch_qps_cpu": n / self.batch.cpu_s if self.batch else None,
            "batch_qps_wall": n / self.batch.wall_s if self.batch else None,
            "build_cpu_s": self.built.build.cpu_s,
            "build_wall_s": self.built.build.wall_s,
            "ram_bytes": size.index_bytes if size else None,
            "ram_total_bytes": size.total_bytes if size else None,
        }


def build_all(methods: Sequence[Method], data: DataSet, say: Say) -> list[Built]:
    """Build every method's index, one after the other."""
    built = []
    for method in methods:
        say(f"building {method.name}")
        warm_up = _elapsed(partial(method.warm_up, data.base))
        build = _elapsed(partial(method.build, data.base))
        say(f"built {method.name} in {build.cpu_s:.1f} s of CPU time, {build.wall_s:.1f} s")
        built.append(Built(method, warm_up, build, method.n_bytes()))
    return built


def measure(
    built: Sequence[Built], data: DataSet, n_rounds: int, *, with_batch: bool, say: Say
) -> list[Sample]:
    """Measure all settings, `n_rounds` times in turns."""
    samples = [
        Sample(one, setting, min(len(data.queries), one.method.max_queries or len(data.queries)))
        for one in built
        for setting in one.method.settings()
    ]
    for number in range(n_rounds):
        say(f"round {number + 1} of {n_rounds}, {len(samples)} settings")
        for sample in samples:
            _measure_once(sample, data, with_batch)
    return samples


def recall_at_k(found: Sequence[RowArray] | RowArray, truth: RowArray) -> float:
    """Return the mean share of each query's true rows that were found."""
    n_right = sum(
        len(set(rows.tolist()) & set(true.tolist()))
        for rows, true in zip(found, truth, strict=True)
    )
    return n_right / truth.size


def _measure_once(sample: Sample, data: DataSet, with_batch: bool) -> None:
    method, queries = sample.built.method, data.queries[: sample.n_queries]
    truth = data.truth[: sample.n_queries]
    method.use(sample.setting)
    for query in queries[:N_WARM_QUERIES]:
        method.search(query)
    gc.collect()
    found: list[RowArray] = []
    passes: list[list[float]] = []

    def ask_each() -> None:
        found.clear()
        search, clock, now = method.search, time.perf_counter, [time.perf_counter()]
        for query in queries:
            found.append(search(query))
            now.append(clock())
        passes.append(now)

    each = _repeated(ask_each)
    latencies_s = np.diff(passes).ravel()
    sample.recall = recall_at_k(found, truth)
    sample.cpu_s = min(sample.cpu_s, each.cpu_s)
    if latencies_s.mean() < sample.latencies_s.mean():
        sample.latencies_s = latencies_s
    if with_batch:
        answers: list[Any] = []

        def ask_all() -> None:
            answers[:] = method.search_batch(queries)

        batch = _repeated(ask_all)
        sample.batch_recall = recall_at_k(answers, truth)
        best = sample.batch or batch
        sample.batch = Elapsed(min(best.cpu_s, batch.cpu_s), min(best.wall_s, batch.wall_s))


def _repeated(call: Callable[[], object]) -> Elapsed:
    """Call until `LEAST_S` have passed and return the mean of what a call took."""
    n_calls, spent = 0, Elapsed(0.0, 0.0)
    while not n_calls or spent.wall_s < LEAST_S:
        once = _elapsed(call)
        n_calls, spent = n_calls + 1, Elapsed(spent.cpu_s + once.cpu_s, spent.wall_s + once.wall_s)
    return Elapsed(spent.cpu_s / n_calls, spent.wall_s / n_calls)


def _elapsed(call: Callable[[], object]) -> Elapsed:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    call()
    return Elapsed(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def _percentiles(values: ScoreArray) -> list[float]:
    return [float(value) for value in np.percentile(values, [50, 95, 99])]
