"""What is measured inside one process: filling a store, asking it, changing it.

Each function runs in a fresh interpreter, so that importing, opening and memory are the store's own
and nothing is warm but the system's file cache. CPU time is that of the whole process, threads that
a library starts included.
"""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from m2m_rag._types import FloatArray
from m2m_rag.bench.store.base import StoreMethod
from m2m_rag.bench.store.conditions import Terms
from m2m_rag.bench.store.data import Schema, batches, read
from m2m_rag.bench.store.registry import store_of
from m2m_rag.errors import M2MError

N_WARM_QUERIES = 5
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")

Numbers: TypeAlias = dict[str, float | None]


@dataclass(frozen=True)
class Task:
    """One store of one round.

    Attributes
    ----------
    method
        Its name in the registry.
    folder
        Where the store lives.
    data, n_rows
        The data's folder, and how many of its records are added.
    schema
        Of the records.
    k
        Rows of an answer.
    n_threads, batch_rows
        Threads; records a call.
    """

    method: str
    folder: Path
    data: Path
    n_rows: int
    schema: Schema
    k: int
    n_threads: int
    batch_rows: int


class Answers(NamedTuple):
    """What a store answered to one case, each query's rows, and how long each call took."""

    found: list[list[int]]
    latencies_s: list[float]
    cpu_s: float


@dataclass
class Memory:
    """The process's resident memory, where ``/proc`` tells it; else None."""

    rss_bytes: int | None
    anonymous_bytes: int | None
    peak_bytes: int | None

    @classmethod
    def now(cls) -> Memory:
        """Look; the peak is that since `reset_peak`, or since the process began."""
        if not STATUS.is_file():
            return cls(None, None, None)
        lines = (line.split() for line in STATUS.read_text(encoding="ascii").splitlines())
        sizes = {words[0]: 1024 * int(words[1]) for words in lines if words[-1] == "kB"}
        return cls(sizes["VmRSS:"], sizes.get("RssAnon:"), sizes["VmHWM:"])


class Watch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.perf_counter()

    def seconds(self, name: str) -> Numbers:
        """Return both, named."""
        return {
            f"{name}_s": time.perf_counter() - self._wall_s,
            f"{name}_cpu_s": time.process_time() - self._cpu_s,
        }


def fill(task: Task) -> Numbers:
    """Create the store and add all records, which are read into memory before."""
    data = read(task.data, task.n_rows)
    gc.collect()
    before = _reset_peak()
    method = _made(task)
    watch = Watch()
    method.create()
    numbers = watch.seconds("create")
    watch = Watch()
    for batch in batches(data, task.batch_rows):
        method.add(batch)
    numbers |= watch.seconds("add")
    method.finish()
    numbers |= watch.seconds("ready")
    _check_count(method, task.n_rows)
    peak = Memory.now().peak_bytes
    method.close()
    grown = None if peak is None or before is None else peak - before
    return {**numbers, "fill_grown_bytes": grown}


def ask(
    task: Task, queries: FloatArray, filters: list[Terms]
) -> tuple[Numbers, list[Answers], dict[str, Any]]:
    """Open the store and answer every query under every filter.

    Returns
    -------
    tuple
        The numbers, the answers of each filter, and the store's parameters.
    """
    start = Watch()
    method = _made(task)
    numbers = start.seconds("import")
    reopen = Watch()
    method.open()
    numbers |= reopen.seconds("open")
    method.search(queries[0], task.k, ())
    numbers |= reopen.seconds("reopen") | start.seconds("start")
    answers = [_answers(method, task.k, queries[: method.max_queries], terms) for terms in filters]
    memory = Memory.now()
    numbers |= {"rss_bytes": memory.rss_bytes, "anonymous_bytes": memory.anonymous_bytes}
    parameters = method.parameters()
    method.close()
    return numbers, answers, parameters


def change(task: Task, n_adds: int, terms: Terms, query: FloatArray) -> Numbers:
    """Add records one by one, then delete those that match a filter.

    The records are copies of the first, so whether one of them matches is known from the data.

    Returns
    -------
    dict
        With ``n_left``, how many records there are in the end, and ``n_left_matching``, how many
        a search under the filter still finds.
    """
    copies = read(task.data, min(n_adds, task.n_rows), task.n_rows) if n_adds else None
    method = _made(task)
    method.open()
    numbers: Numbers = {"single_add_s": None, "single_add_cpu_s": None}
    if copies is not None:
        watch = Watch()
        for batch in batches(copies, 1):
            method.add(batch)
        numbers = {
            name: seconds and seconds / len(copies.rows)
            for name, seconds in watch.seconds("single_add").items()
        }
    watch = Watch()
    method.delete(terms)
    numbers |= watch.seconds("delete")
    numbers["n_left"] = method.count()
    numbers["n_left_matching"] = len(method.search(query, task.k, terms))
    method.close()
    return numbers


def _made(task: Task) -> StoreMethod:
    return store_of(task.method)(task.folder, task.schema, task.n_threads)


def _answers(method: StoreMethod, k: int, queries: FloatArray, terms: Terms) -> Answers:
    for query in queries[:N_WARM_QUERIES]:
        method.search(query, k, terms)
    gc.collect()
    search, clock = method.search, time.perf_counter
    found: list[list[int]] = []
    ticks = np.empty(len(queries) + 1)
    cpu_s = time.process_time()
    ticks[0] = clock()
    for number, query in enumerate(queries, start=1):
        found.append(search(query, k, terms))
        ticks[number] = clock()
    return Answers(found, np.diff(ticks).tolist(), time.process_time() - cpu_s)


def _check_count(method: StoreMethod, expected: int) -> None:
    found = method.count()
    if found != expected:
        raise M2MError(f"{method.name} holds {found} records after {expected} were added")


def _reset_peak() -> int | None:
    """Let the peak begin anew where the system can, and return what is resident now."""
    if RESET.exists():
        RESET.write_text("5", encoding="ascii")
    return Memory.now().rss_bytes
