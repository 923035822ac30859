"""Damages one file of a database after another and looks at what the database then answers.

`build` makes the databases, `damage` runs in a zygote's child, which a crash would end.
"""

from __future__ import annotations

import logging
import os
import random
import shutil
import sys
from pathlib import Path

import fault_load
import numpy as np

from m2m_rag import Database, _indexing
from m2m_rag.errors import StorageError

PAGE = 4096
INDEX_FROM = 100
"""Live records that are indexed: few, for the index is loaded again and again."""


def use_index() -> None:
    """Index a few records already, in this process and in children forked from here."""
    _indexing.INDEX_FROM = INDEX_FROM


def build(path: str, older: str, seed: int, n: int, state_wanted: str) -> None:
    """Run n steps, with a copy at three quarters; then ``closed``, ``indexed`` or ``killed``."""
    if state_wanted == "indexed":
        use_index()
    load = fault_load.Load(path)
    state: fault_load.State = {}
    for number in range(n):
        step = fault_load.plan(seed, number, state)
        step.act(load)
        state = step.after
        if number == n * 3 // 4:
            shutil.copytree(path, older)
    if state_wanted == "indexed":
        assert len(state[fault_load.MAIN]) > INDEX_FROM
        load.database.open(fault_load.MAIN).wait_for_index()
    if state_wanted != "killed":
        load.database.close()
    sys.stdout.flush()
    os._exit(0)


def answers(path: str) -> tuple:
    """Return all that is stored, and the exact answers of some searches."""
    with Database(path) as database:
        state = fault_load.read(database)
        found = []
        for name, records in state.items():
            collection = database.open(name)
            queries = [record.vector for record in records.values()][:3]
            found.append([collection.search(query, 5, lod=2) for query in queries])
            found.append(collection.ids({"even": True}))
            if name == fault_load.MAIN:
                found.append({hit.id for hit in collection.search(text="wrote", k=1000)})
        return state, found


def _flip(data: bytearray, rng: random.Random, older: bytes) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _truncate(data: bytearray, rng: random.Random, older: bytes) -> None:
    del data[rng.randrange(len(data)) :]


def _zero(data: bytearray, rng: random.Random, older: bytes) -> None:
    page = rng.randrange(-(-len(data) // PAGE))
    part = data[page * PAGE : (page + 1) * PAGE]
    data[page * PAGE : (page + 1) * PAGE] = bytes(len(part))


def _swap(data: bytearray, rng: random.Random, older: bytes) -> None:
    pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
    a, b = rng.randrange(len(pages)), rng.randrange(len(pages))
    pages[a], pages[b] = pages[b], pages[a]
    data[:] = b"".join(pages)


def _lose(data: bytearray, rng: random.Random, older: bytes) -> None:
    """Undo the last write of one page: what an older copy of the file has there comes back."""
    starts = range(0, min(len(data), len(older)), PAGE)
    changed = [at for at in starts if data[at : at + PAGE] != older[at : at + PAGE]]
    if changed:
        at = rng.choice(changed)
        data[at : at + PAGE] = older[at : at + PAGE]


def _stale(data: bytearray, rng: random.Random, older: bytes) -> None:
    data[:] = older


KINDS = {
    "flip": _flip, "truncate": _truncate, "zero": _zero, "swap": _swap, "lost write": _lose,
    "stale": _stale,
}  # fmt: skip


class _Warnings(logging.Handler):
    """Keeps what the package warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def damage(path: str, older: str, work: str, victim: str, kind: str, seed: int, n: int) -> None:
    """Damage `victim` n times, each time in a fresh copy, and say what came of each.

    ``detected``: an error of ours. ``repaired``: right answers and a warning. ``no effect``: right
    answers. ``wrong`` and a raw error end the child.
    """
    if victim.endswith(".hrm2"):
        use_index()
    warnings = _Warnings()
    logging.getLogger("m2m_rag").addHandler(warnings)
    good = Path(path, victim).read_bytes()
    before = Path(older, victim)
    stale = before.read_bytes() if before.exists() else b""
    shutil.copytree(path, work)
    expected = answers(work)
    warnings.said.clear()
    for case in range(n):
        shutil.rmtree(work)
        shutil.copytree(path, work)
        data = bytearray(good)
        rng = random.Random(f"{seed}/{kind}/{case}")
        KINDS[kind](data, rng, stale)
        Path(work, victim).write_bytes(data)
        print(f"case {case}", flush=True)
        try:
            assert answers(work) == expected, "silently wrong"
            outcome = "repaired" if warnings.said else "no effect"
        except StorageError:
            outcome = "detected"
        warnings.said.clear()
        print(outcome, flush=True)
    shutil.rmtree(work)


def shrink_under_a_reader(path: str) -> None:
    """Cut the vector file of an open database and search."""
    with Database(path) as database:
        collection = database.open(fault_load.MAIN)
        collection.search([1.0] * fault_load.DIMENSION)
        (victim,) = Path(path).rglob("*.f32")
        os.truncate(victim, PAGE)
        for call in (
            lambda: collection.search([1.0] * fault_load.DIMENSION),
            lambda: collection.get(include_vectors=True),
        ):
            try:
                call()
            except StorageError as error:
                print(type(error).__name__, flush=True)


def shrink_an_index_under_a_reader(path: str) -> None:
    """Cut the index of an open database and search; say whether the answers are the same."""
    use_index()
    with Database(path) as database:
        collection = database.open(fault_load.MAIN)
        queries = np.ones((3, fault_load.DIMENSION), np.float32)
        before = collection.search(queries, 5)
        assert collection.stats()["index"]["kind"] == "hrm2"
        for victim in Path(path).rglob("*.hrm2"):
            os.truncate(victim, 0)
        print(collection.search(queries, 5, lod=2) == before, flush=True)
        assert collection.wait_for_index()
        print(collection.stats()["index"]["kind"], flush=True)
