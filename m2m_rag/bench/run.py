"""The two runs: recall and speed beside the peers, and ours over sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2m_rag.bench.base import Method
from m2m_rag.bench.curves import Clock, points_of, qps_at, summarise
from m2m_rag.bench.data import DataSet, load, repeat, synthesise
from m2m_rag.bench.measure import Built, Sample, Say, build_all, measure
from m2m_rag.bench.registry import DEFAULT_PEERS, OURS, check_peers, make_methods
from m2m_rag.bench.report import head
from m2m_rag.errors import InvalidInputError

SCALING_RECALL = 0.95


@dataclass(frozen=True)
class Options:
    """What both runs take.

    Attributes
    ----------
    k
        How many rows an answer has; recall is recall@k.
    n_queries
        At most so many queries, each its own call.
    n_rounds
        How often each setting is measured.
    n_threads
        Threads of builds and batches. It is only recorded and passed on: the environment must
        say it before any library is imported (`process.in_fresh_process`).
    seed
        Of synthetic data.
    """

    k: int = 10
    n_queries: int = 1000
    n_rounds: int = 5
    n_threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("k", "n_queries", "n_rounds", "n_threads"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class AnnOptions(Options):
    """What `run_ann` takes.

    Attributes
    ----------
    folder
        A data set's folder (`data.load`), or None for synthetic data.
    n_splats, dimension
        The shape of synthetic data.
    peers
        Keys of `registry.METHODS`.
    with_batch
        Also time one call with all queries.
    skip_missing
        Leave out peers that are not installed, and say so in the report.
    copies
        How often each row of the folder's set comes, each time but the first with noise.
    """

    folder: Path | None = None
    n_splats: int | None = None
    dimension: int = 384
    peers: tuple[str, ...] = DEFAULT_PEERS
    with_batch: bool = False
    skip_missing: bool = False
    copies: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_peers(self.peers)
        if (self.folder is None) == (self.n_splats is None):
            raise InvalidInputError("give either the folder of a data set or n_splats, not both")
        if self.copies < 1 or (self.copies > 1 and self.folder is None):
            raise InvalidInputError(f"copies of --data must be at least 1, got {self.copies}")


def run_ann(options: AnnOptions, say: Say) -> dict[str, Any]:
    """Measure us and the peers on one data set and return the report."""
    metric_known = options.folder is None or (options.folder / "base_f16.npy").is_file()
    methods, missing = make_methods(
        options.peers, "ip" if metric_known else "l2", options.k, options.n_threads,
        skip_missing=options.skip_missing,
    )  # fmt: skip
    say("reading the data" if options.folder else f"making {options.n_splats} rows")
    data = _data(options)
    samples = _measure(methods, data, options, with_batch=options.with_batch, say=say)
    rows = [_with_bytes_a_row(sample, len(data.base)) for sample in samples]
    clocks: list[Clock] = ["qps_cpu", "qps_wall"]
    if options.with_batch:
        clocks += ["batch_qps_cpu", "batch_qps_wall"]
    return {
        **head("ann", [method.distribution for method in methods], options.n_threads),
        "data": _described(data),
        "k": options.k,
        "n_rounds": options.n_rounds,
        "missing": missing,
        "methods": {one.method.name: _described_method(one) for one in _built(samples)},
        "rows": rows,
        "summary": [entry for clock in clocks for entry in summarise(rows, OURS, clock)],
    }


def run_scaling(sizes: Sequence[int], dimension: int, options: Options, say: Say) -> dict[str, Any]:
    """Measure us and linear search on synthetic data of several sizes and return the report."""
    if not sizes:
        raise InvalidInputError("give at least one size")
    rows: list[dict[str, Any]] = []
    methods: list[Method] = []
    for n in sorted(set(sizes)):
        say(f"making {n} rows")
        data = synthesise(n, dimension, options.k, options.n_queries, options.seed)
        methods, _ = make_methods(
            ["linear"], data.metric, options.k, options.n_threads, skip_missing=False
        )
        samples = _measure(methods, data, options, with_batch=False, say=say)
        rows.append(_scaling_row(samples, n))
    return {
        **head("scaling", [method.distribution for method in methods], options.n_threads),
        "data": {"name": "synthetic", "d": dimension, "metric": "ip", "seed": options.seed},
        "k": options.k,
        "n_rounds": options.n_rounds,
        "recall_asked": SCALING_RECALL,
        "rows": rows,
    }


def _data(options: AnnOptions) -> DataSet:
    if options.folder is not None:
        data = load(options.folder, options.k, options.n_queries)
        if options.copies > 1:
            return repeat(data, options.copies, options.n_queries, options.seed)
        return data
    return synthesise(
        options.n_splats or 0, options.dimension, options.k, options.n_queries, options.seed
    )


def _measure(
    methods: list[Method], data: DataSet, options: Options, *, with_batch: bool, say: Say
) -> list[Sample]:
    built = build_all(methods, data, say)
    return measure(built, data, options.n_rounds, with_batch=with_batch, say=say)


def _with_bytes_a_row(sample: Sample, n: int) -> dict[str, Any]:
    row = sample.row()
    for name in ("ram_bytes", "ram_total_bytes"):
        row[f"{name}_per_row"] = None if row[name] is None else row[name] / n
    return row


def _scaling_row(samples: list[Sample], n: int) -> dict[str, Any]:
    rows = [_with_bytes_a_row(sample, n) for sample in samples]
    asked = next(row for row in rows if row["setting"] == {"recall": SCALING_RECALL})
    linear = next(row for row in rows if row["method"] == "linear")
    names = (
        "recall", "qps_cpu", "qps_wall", "p50_us", "p95_us", "p99_us", "build_cpu_s",
        "build_wall_s", "ram_bytes", "ram_bytes_per_row",
    )  # fmt: skip
    return {
        "n": n,
        **{name: asked[name] for name in names},
        "qps_cpu_at_recall": qps_at(points_of(rows, OURS), SCALING_RECALL),
        "linear_qps_cpu": linear["qps_cpu"],
        "linear_qps_wall": linear["qps_wall"],
    }


def _built(samples: list[Sample]) -> list[Built]:
    return list({sample.built.method.name: sample.built for sample in samples}.values())


def _described(data: DataSet) -> dict[str, Any]:
    n, d = data.base.shape
    return {
        "name": data.name, "n": n, "d": d, "metric": data.metric,
        "n_queries": len(data.queries), **data.origin,
    }  # fmt: skip


def _described_method(built: Built) -> dict[str, Any]:
    return {
        "parameters": built.method.parameters(),
        "warm_up_cpu_s": built.warm_up.cpu_s,
        "warm_up_wall_s": built.warm_up.wall_s,
    }
