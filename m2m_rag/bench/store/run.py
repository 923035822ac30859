"""The run: every store in turns, round by round, each step in a process of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from m2m_rag._types import FloatArray
from m2m_rag.bench.measure import Say
from m2m_rag.bench.process import in_fresh_process
from m2m_rag.bench.report import head
from m2m_rag.bench.store.base import StoreMethod
from m2m_rag.bench.store.conditions import Terms, choose
from m2m_rag.bench.store.data import Batch, read, read_queries, schema_of
from m2m_rag.bench.store.judge import Case, judge, make_cases
from m2m_rag.bench.store.registry import PEERS, chosen_stores
from m2m_rag.bench.store.work import Answers, Numbers, Task, ask, change, fill
from m2m_rag.errors import InvalidInputError

CHANGED_SHARE = 0.1
"""The filter that is nearest to this share says what is deleted."""


@dataclass(frozen=True)
class StoreOptions:
    """What `run_store` takes.

    Attributes
    ----------
    data
        The data's folder (`data.read`).
    peers
        Keys of `registry.STORES`.
    n_rows
        How many records, or None for all.
    n_queries
        At most so many queries, each its own call.
    n_rounds
        How often each store is filled, asked and changed.
    n_adds
        Records added one a call; 0 leaves that out.
    keys
        Metadata keys that filters are chosen from; empty for all.
    k, n_threads, batch_rows
        Rows of an answer, threads, records a call.
    skip_missing
        Leave out peers that are not installed, and say so in the report.
    folder
        Where the stores are made, or None for the system's temporary folder.
    """

    data: Path
    peers: tuple[str, ...] = PEERS
    n_rows: int | None = None
    n_queries: int = 200
    n_rounds: int = 3
    n_adds: int = 200
    keys: tuple[str, ...] = ()
    k: int = 10
    n_threads: int = 1
    batch_rows: int = 1000
    skip_missing: bool = False
    folder: Path | None = None

    def __post_init__(self) -> None:
        for name in ("n_queries", "n_rounds", "k", "n_threads", "batch_rows"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.n_adds < 0 or (self.n_rows is not None and self.n_rows < self.k):
            raise InvalidInputError(
                f"n_adds must be at least 0 and n_rows at least k, got {self.n_adds} and "
                f"{self.n_rows}"
            )


class Round(NamedTuple):
    """What one round measured of one store."""

    numbers: Numbers
    answers: list[Answers]
    parameters: dict[str, Any]


def run_store(options: StoreOptions, say: Say) -> dict[str, Any]:
    """Measure us and the peers and return the report."""
    stores, missing = chosen_stores(options.peers, skip_missing=options.skip_missing)
    say("reading the data")
    data = read(options.data, options.n_rows)
    queries = read_queries(options.data, options.n_queries)
    schema = schema_of(data, options.keys)
    if queries.shape[1] != schema.dimension:
        raise InvalidInputError(
            f"{options.data}: rows of {schema.dimension} numbers, queries of {queries.shape[1]}"
        )
    chosen = choose(data.metadatas, schema.keys)
    if not chosen:
        raise InvalidInputError(f"{options.data}: no metadata to filter by")
    filters: list[Terms] = [(), *chosen]
    say(f"answering {len(queries)} queries under {len(filters)} filters by brute force")
    cases = make_cases(filters, data.metadatas, data.vectors, queries, options.k)
    root = Path(tempfile.mkdtemp(prefix="m2m-bench-store-", dir=options.folder))
    task = Task(
        "", root / "store", options.data.resolve(), len(data.rows), schema, options.k,
        options.n_threads, options.batch_rows,
    )  # fmt: skip
    try:
        rounds = _rounds(stores, task, options, cases, queries, say)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return {
        **head("store", [store.distribution for store in stores], options.n_threads),
        "data": {
            "name": options.data.resolve().name, "n": len(data.rows), "d": schema.dimension,
            "metric": "ip", "n_queries": len(queries), "keys": list(schema.keys),
        },
        "k": options.k,
        "n_rounds": options.n_rounds,
        "n_adds": min(options.n_adds, len(data.rows)),
        "batch_rows": options.batch_rows,
        "missing": missing,
        "cases": [{"name": case.name, "n_matching": case.n_matching} for case in cases],
        "methods": {name: {"parameters": ran[0].parameters} for name, ran in rounds.items()},
        "rows": [
            {"method": name, **_row(ran, cases, data, queries, options.n_adds)}
            for name, ran in rounds.items()
        ],
    }  # fmt: skip


def best_and_worst(rounds: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """Return the least and the greatest of each number over the rounds; None stays None."""
    least: Numbers = {}
    greatest: Numbers = {}
    for name in rounds[0]:
        values = [value for numbers in rounds if (value := numbers[name]) is not None]
        least[name] = min(values, default=None)
        greatest[name] = max(values, default=None)
    return least, greatest


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _rounds(
    stores: Sequence[type[StoreMethod]],
    task: Task,
    options: StoreOptions,
    cases: Sequence[Case],
    queries: FloatArray,
    say: Say,
) -> dict[str, list[Round]]:
    """Run all rounds; the first, on a few of the records, is thrown away."""
    rounds: dict[str, list[Round]] = {store.name: [] for store in stores}
    for number in range(options.n_rounds + 1):
        for store in stores:
            n_rows = task.n_rows if number else min(task.n_rows, store.n_warm_up)
            title = f"round {number} of {options.n_rounds}" if number else "warming up"
            say(f"{title}: {store.name}, {n_rows:,} rows")
            one = replace(task, method=store.name, n_rows=n_rows)
            rounds[store.name].append(_round(one, options.n_adds, cases, queries))
    return {name: ran[1:] for name, ran in rounds.items()}


def _round(task: Task, n_adds: int, cases: Sequence[Case], queries: FloatArray) -> Round:
    """Fill, ask and change one store, and remove it."""
    filters = [case.terms for case in cases]
    task.folder.mkdir()
    try:
        numbers = in_fresh_process(task.n_threads, fill, task)
        numbers["disk_bytes"] = folder_bytes(task.folder)
        asked, answers, parameters = in_fresh_process(task.n_threads, ask, task, queries, filters)
        numbers |= asked
        terms = changed_filter(cases).terms
        numbers |= in_fresh_process(task.n_threads, change, task, n_adds, terms, queries[0])
    finally:
        shutil.rmtree(task.folder)
    return Round(numbers, answers, parameters)


def changed_filter(cases: Sequence[Case]) -> Case:
    """Return the case whose records are deleted."""
    filtered = [case for case in cases if case.terms]
    return min(filtered, key=lambda case: abs(case.n_matching / len(case.is_match) - CHANGED_SHARE))


def _row(
    rounds: Sequence[Round], cases: Sequence[Case], data: Batch, queries: FloatArray, n_adds: int
) -> dict[str, Any]:
    """Return the best of the rounds, the worst beside it, and the judgement of all answers."""
    best, worst = best_and_worst([one.numbers for one in rounds])
    judged = [
        _case_row([one.answers[i] for one in rounds], case, data, queries)
        for i, case in enumerate(cases)
    ]
    gone = changed_filter(cases).is_match
    n_left = len(gone) - gone.sum() + min(n_adds, len(gone)) - gone[:n_adds].sum()
    is_right = {(one.numbers["n_left"], one.numbers["n_left_matching"]) for one in rounds} == {
        (n_left, 0)
    }
    return {**best, "worst": worst, "is_delete_right": is_right, "cases": judged}


def _case_row(
    answers: Sequence[Answers], case: Case, data: Batch, queries: FloatArray
) -> dict[str, Any]:
    best, worst = best_and_worst([_speeds(one) for one in answers])
    verdicts = [judge(one.found, case, data.vectors, queries) for one in answers]
    return {
        "name": case.name,
        **best,
        "worst": worst,
        "recall": min(verdict.recall for verdict in verdicts),
        "n_right": sum(verdict.n_right for verdict in verdicts),
        "n_answers": sum(verdict.n_answers for verdict in verdicts),
    }


def _speeds(answers: Answers) -> Numbers:
    p50, p95, p99 = (1e6 * float(np.percentile(answers.latencies_s, p)) for p in (50, 95, 99))
    cpu_us = 1e6 * answers.cpu_s / len(answers.found)
    return {"p50_us": p50, "p95_us": p95, "p99_us": p99, "cpu_us": cpu_us}
