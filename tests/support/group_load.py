"""Threads that write to one collection at the same time, each its own records: group commits.

What a thread's step does depends only on the seed, the thread and the steps before, so what each
thread has stored is known, however the steps of several are mixed. Some steps fail after they have
written everything; files of vectors are small, so that some steps begin new ones.
"""

from __future__ import annotations

import ctypes
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from failing_calls import SYNCS
from fault_load import DIMENSION, MAIN, State, Stored, check, columns, read, say

from m2m_rag import Collection, Database
from m2m_rag.errors import ReadOnlyError, StorageError, SyncError
from m2m_rag.records import as_records
from m2m_rag.storage import group
from m2m_rag.storage.vectors import DiskVectors
from m2m_rag.storage.vectors.format import HEADER_BYTES

ROWS_PER_FILE = 30
Records = dict[str, Stored]
Act = Callable[[Collection], object]


class UndoneError(Exception):
    """What a step raises that is to be undone."""


def make_files_small() -> None:
    """Let new vector files of this process hold `ROWS_PER_FILE` rows."""
    DiskVectors.__init__.__defaults__ = (HEADER_BYTES + 4 * DIMENSION * ROWS_PER_FILE,)


def record(rng: random.Random, id_: str) -> Stored:
    vector = tuple(rng.randint(-(2**20), 2**20) / 1024 for _ in range(DIMENSION))
    return Stored(f"about {id_}", {"n": rng.randrange(9)}, vector)


def plan(seed: int, thread: int, number: int, before: Records) -> tuple[Act, Records]:
    """Return what a thread's step does, and what the thread has stored afterwards."""
    rng = random.Random(f"{seed}/{thread}/{number}")
    new = {id_: record(rng, id_) for id_ in (f"{thread}-{number}-{i}" for i in range(1, 4))}
    new = dict(list(new.items())[: rng.randint(1, 3)])
    some = rng.sample(sorted(before), min(len(before), 2))
    kind = rng.choice(["add", "add", "add", "upsert", "update", "delete", "fail", "fail"])
    if kind == "fail":
        return lambda collection: fail_after_writing(collection, new), before
    if kind == "upsert":
        new |= {id_: record(rng, id_) for id_ in some}
        return lambda collection: collection.upsert(**columns(new)), before | new
    if kind == "update" and some:
        changed = {id_: before[id_]._replace(metadata={"n": number}) for id_ in some}
        changes = [{"n": number}] * len(some)
        return (
            lambda collection: collection.update(some, changes, mode="replace"),
            before | changed,
        )
    if kind == "delete":
        kept = {id_: found for id_, found in before.items() if id_ not in some}
        return lambda collection: collection.delete(some), kept
    return lambda collection: collection.add(**columns(new)), before | new


def add_alone(collection: Collection, new: Records) -> None:
    """Write records in a commit that is shared with nobody."""
    append(collection, new, is_alone=True)


def fail_after_writing(collection: Collection, new: Records) -> None:
    """Write records and their vectors, then raise: as if the step's last statement failed."""
    with suppress(UndoneError):
        append(collection, new, raises=True)


def append(
    collection: Collection, new: Records, *, is_alone: bool = False, raises: bool = False
) -> None:
    """Write records in a transaction that may raise in the end."""
    given = columns(new)
    records = as_records(
        len(new), given["ids"], given["texts"], given["metadatas"], None, None, None
    )
    with collection._transaction(is_alone=is_alone) as transaction:
        collection._parts.store.append(transaction, records, np.array(given["vectors"], np.float32))
        if raises:
            raise UndoneError


def states(seed: int, thread: int, n: int) -> list[Records]:
    """Return what a thread has stored before and after each of its first n steps."""
    found: list[Records] = [{}]
    for number in range(n):
        found.append(plan(seed, thread, number, found[-1])[1])
    return found


def run(path: str, seed: int, n_threads: int, n: int) -> None:
    """Let threads do their steps at the same time; after each, its thread's number is said."""
    make_files_small()
    with Database(path) as database:
        collection = database.create(MAIN, DIMENSION)
        in_threads([lambda t=t: write(collection, seed, t, n, say) for t in range(n_threads)])


def write(
    collection: Collection, seed: int, thread: int, n: int, said: Callable[[int], Any]
) -> Records:
    """Do one thread's steps; return what it has stored."""
    mine: Records = {}
    for number in range(n):
        act, mine = plan(seed, thread, number, mine)
        act(collection)
        said(thread)
    return mine


def in_threads(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do works at the same time; return their results, exceptions among them raised at the end."""
    results: list[Any] = [None] * len(works)

    def call(number: int) -> None:
        try:
            results[number] = works[number]()
        except BaseException as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a writer hangs"
    for result in results:
        if isinstance(result, AssertionError):
            raise result
    return results


def wait_for_queue(collection: Collection, n: int) -> None:
    """Wait until n writers stand in the queue."""
    deadline = time.monotonic() + 30
    while len(collection._parts.store.catalog.writers._queue) < n:
        assert time.monotonic() < deadline, "nobody came"
        time.sleep(0.0005)


def together(
    collection: Collection,
    works: Sequence[Callable[[], Any]],
    ready: Callable[[], object] = lambda: None,
) -> list[Any]:
    """Let works write in one group, in this order; return their results or what they raised.

    They queue up behind a transaction that is undone, which calls `ready` at its end.
    """
    started = threading.Event()

    def queue_up(number: int) -> Callable[[], Any]:
        def work() -> Any:
            wait_for_queue(collection, number)
            return works[number]()

        return work

    def begin() -> None:
        with suppress(UndoneError), collection._transaction(is_alone=True):
            started.set()
            wait_for_queue(collection, len(works))
            ready()
            raise UndoneError

    leader = threading.Thread(target=begin)
    leader.start()
    started.wait(30)
    results = in_threads([queue_up(number) for number in range(len(works))])
    leader.join()
    return results


def check_threads(folder: Path, seed: int, said: Sequence[int], n_threads: int, n: int) -> int:
    """Check a database after a fault: what threads said is there; return what else is, in steps."""
    check(folder, None, most_probes=3)
    with Database(folder, read_only=True) as database:
        found: State = read(database)
    by_thread: dict[int, Records] = {thread: {} for thread in range(n_threads)}
    for id_, stored in found.get(MAIN, {}).items():
        by_thread[int(id_.partition("-")[0])][id_] = stored
    n_unasked = 0
    for thread, records in by_thread.items():
        expected = states(seed, thread, n)
        n_said = sum(word == thread for word in said)
        allowed = expected[n_said : n_said + 2]
        assert records in allowed, f"thread {thread} after {n_said} steps: {sorted(records)}"
        n_unasked += records != allowed[0]
    return n_unasked


def attempt(path: str, n_threads: int, calls: int, k: int, error: int, how: int) -> None:
    """Add a record from each of some threads while the k-th of the calls fails.

    All but the last are in one group; the last comes behind it.
    Each call that returns must have stored its record, each that raises nothing, and the next
    write works, or is refused when a sync has failed. The child says how many raised, and how many
    calls there were.
    """
    group.LONGEST_S = 60.0
    library = ctypes.CDLL(None)
    rng = random.Random(k)
    with Database(path) as database:
        collection = database.open(MAIN)
        before = read(database)[MAIN]
        new = [{f"{t}-0-1": record(rng, f"{t}-0-1")} for t in range(n_threads)]
        behind = {"behind": record(rng, "behind")}
        results = together(
            collection,
            [
                *[lambda r=r: collection.add(**columns(r)) for r in new],
                lambda: add_alone(collection, behind),
            ],
            lambda: library.fault_arm(os.fsencode(path), calls, ctypes.c_long(k), error, how),
        )
        n_calls = library.fault_disarm()
        failed = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(result, StorageError) for result in failed), results
        is_unsynced = [isinstance(result, SyncError) for result in results]
        assert is_unsynced[-1] == any(is_unsynced), "wrote on after a sync that failed"
        assert len({id(result) for result in failed}) == len(failed), "one error raised twice"
        after = dict(before)
        for records, result in zip([*new, behind], results, strict=True):
            if not isinstance(result, BaseException):
                after |= records
        assert read(database) == {MAIN: after}
        more = {"more": record(rng, "more")}
        try:
            collection.add(**columns(more))
        except ReadOnlyError:
            assert calls & SYNCS
            assert failed
        else:
            assert not any(is_unsynced)
            after |= more
    with Database(path) as database:
        assert read(database) == {MAIN: after}
        database.open(MAIN).upsert(**columns(more))
        assert read(database) == {MAIN: after | more}
    say(f"failed {len(failed)}")
    say(f"calls {n_calls}")
