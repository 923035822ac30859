"""The load of the fault programme: seeded steps on a database, and what must be there after each.

Step n of a seed depends only on the seed, n and the state before it, so a child runs steps and
says their numbers, and its parent works out the states that they leave. What is found afterwards
must be, to the last byte, the state after the last step that was said or after the one in flight.

A new kind of step is a function `(rng, number, state) -> Step` and a line in `OPERATIONS`.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from m2m_rag import Database
from m2m_rag._types import Durability

DIMENSION = 8
MAIN, SIDE = "main", "side"
MOST_RECORDS = 1500
"""From here on steps delete more than they add, so that checking stays quick."""


class Stored(NamedTuple):
    """A record as the load wrote it."""

    text: str
    metadata: dict
    vector: tuple[float, ...]


State = dict[str, dict[str, Stored]]
"""Collection → id → record."""


class Load:
    """The database that the steps work on."""

    def __init__(self, path: Path | str, durability: Durability = "full") -> None:
        self.path = path
        self.durability: Durability = durability
        self.database = Database(path, durability=durability)

    def reopen(self) -> None:
        self.database.close()
        self.database = Database(self.path, durability=self.durability)


class Step(NamedTuple):
    """One commit: how to do it, and the state after it."""

    name: str
    act: Callable[[Load], object]
    after: State


def _record(rng: random.Random, number: int, id_: str) -> Stored:
    vector = tuple(rng.randint(-(2**20), 2**20) / 1024 for _ in range(DIMENSION))  # exact float32
    metadata = {"batch": number, "tags": [rng.random(), None, "é"], "even": number % 2 == 0}
    return Stored(f"step {number} wrote {id_}. " * rng.choice((1, 1, 1, 8)), metadata, vector)


def columns(records: dict[str, Stored]) -> dict:
    return {
        "vectors": [record.vector for record in records.values()],
        "ids": list(records),
        "texts": [record.text for record in records.values()],
        "metadatas": [record.metadata for record in records.values()],
    }


def _size(rng: random.Random) -> int:
    return rng.choice((1, 1, rng.randint(1, 20), rng.randint(1, 60)))


def _sample(rng: random.Random, state: State, most: int) -> list[str]:
    held = sorted(state[MAIN])
    return rng.sample(held, min(len(held), rng.randint(1, most)))


def add(rng: random.Random, number: int, state: State) -> Step:
    ids = [f"{number}-{i}" for i in range(_size(rng))]
    new = {id_: _record(rng, number, id_) for id_ in ids}
    after = {**state, MAIN: {**state[MAIN], **new}}
    return Step("add", lambda load: load.database.open(MAIN).add(**columns(new)), after)


def upsert(rng: random.Random, number: int, state: State) -> Step:
    ids = [*_sample(rng, state, 10), *(f"{number}-{i}" for i in range(_size(rng)))]
    new = {id_: _record(rng, number, id_) for id_ in ids}
    after = {**state, MAIN: {**state[MAIN], **new}}
    return Step("upsert", lambda load: load.database.open(MAIN).upsert(**columns(new)), after)


def update(rng: random.Random, number: int, state: State) -> Step:
    ids = _sample(rng, state, 10)
    changed = {
        id_: state[MAIN][id_]._replace(metadata={**state[MAIN][id_].metadata, "updated": number})
        for id_ in ids
    }
    after = {**state, MAIN: {**state[MAIN], **changed}}
    change = [{"updated": number}] * len(ids)
    return Step("update", lambda load: load.database.open(MAIN).update(ids, change), after)


def delete(rng: random.Random, number: int, state: State) -> Step:
    ids = set(_sample(rng, state, 400 if len(state[MAIN]) > MOST_RECORDS else 15))
    after = {**state, MAIN: {id_: r for id_, r in state[MAIN].items() if id_ not in ids}}
    return Step("delete", lambda load: load.database.open(MAIN).delete(ids), after)


def delete_where(rng: random.Random, number: int, state: State) -> Step:
    batch = rng.choice(sorted({r.metadata["batch"] for r in state[MAIN].values()} or {0}))
    kept = {id_: r for id_, r in state[MAIN].items() if r.metadata["batch"] != batch}
    where = {"batch": batch}
    return Step(
        "delete_where",
        lambda load: load.database.open(MAIN).delete(where=where),
        {**state, MAIN: kept},
    )


def reopen(rng: random.Random, number: int, state: State) -> Step:
    return Step("reopen", Load.reopen, state)


def compact(rng: random.Random, number: int, state: State) -> Step:
    erase = rng.random() < 0.3
    return Step("compact", lambda load: load.database.open(MAIN).compact(erase=erase), state)


def backup(rng: random.Random, number: int, state: State) -> Step:
    def act(load: Load) -> None:
        to = f"{load.path}-backup"
        shutil.rmtree(to, ignore_errors=True)
        load.database.backup(to)
        with Database(to, read_only=True) as copy:
            assert read(copy) == state

    return Step("backup", act, state)


def side(rng: random.Random, number: int, state: State) -> Step:
    if SIDE in state:
        after = {name: records for name, records in state.items() if name != SIDE}
        return Step("drop", lambda load: load.database.drop(SIDE), after)
    return Step("create", lambda load: load.database.create(SIDE, 3), {**state, SIDE: {}})


OPERATIONS: list[tuple[int, Callable[[random.Random, int, State], Step]]] = [
    (50, add),
    (15, upsert),
    (6, update),
    (10, delete),
    (5, delete_where),
    (4, reopen),
    (5, compact),
    (2, backup),
    (3, side),
]


def plan(seed: int, number: int, state: State) -> Step:
    """Return step `number`, which finds `state`."""
    if MAIN not in state:
        return Step(
            "create", lambda load: load.database.create(MAIN, DIMENSION), {**state, MAIN: {}}
        )
    rng = random.Random(f"{seed}/{number}")
    weights, functions = zip(*OPERATIONS, strict=True)
    if not state[MAIN]:
        return add(rng, number, state)
    (function,) = rng.choices(functions, weights)
    return function(rng, number, state)


def states(seed: int, first: int, n: int, state: State) -> list[State]:
    """Return the state before step `first` and after each of the n steps from there."""
    found = [state]
    for number in range(first, first + n):
        found.append(plan(seed, number, found[-1]).after)
    return found


def run(path: str, seed: int, first: int, n: int, durability: Durability = "full") -> None:
    """Do steps and say the number of each that returned."""
    load = Load(path, durability)
    state = read(load.database)
    for number in range(first, first + n):
        step = plan(seed, number, state)
        step.act(load)
        state = step.after
        say(number)
    load.database.close()


def say(word: object) -> None:
    """Tell the parent, in one write: a kill leaves all of the line or nothing."""
    os.write(1, f"{word}\n".encode())


def recover(path: str) -> None:
    """Open a database after a kill, read it all, and close it, over and over."""
    while True:
        with Database(path) as database:
            read(database)
        say("recovered")


def read(database: Database) -> State:
    """Return all that is stored; no id may come twice."""
    found: State = {}
    for name in database.list():
        collection = database.open(name)
        records = collection.get(include_vectors=True)
        found[name] = {
            record.id: Stored(record.text or "", record.metadata, tuple(record.vector.tolist()))
            for record in records
        }
        assert len(found[name]) == len(records), "an id is there twice"
    return found


def check(path: Path | str, allowed: list[State] | None, *, most_probes: int = 50) -> int:
    """Check a database after a fault; return which of the allowed states (None: any) it is in.

    All that the fault programme asks of a database that was opened again is asked here.
    """
    with Database(path) as database:
        report = database.verify()
        assert report.is_sound, report.findings
        found = read(database)
        allowed = [found] if allowed is None else allowed
        assert found in allowed, difference(found, allowed)
        for name, records in found.items():
            collection = database.open(name)
            assert collection.count() == len(collection.ids()) == len(records)
            with collection._snapshot() as snapshot:
                assert sum(file.rows for file in snapshot.layout().files) == snapshot.state.n_rows
            probes = sorted(records)[:: max(1, len(records) // most_probes)]
            if probes:
                hits = collection.search([records[id_].vector for id_ in probes], 1)
                assert [hit[0].id for hit in hits] == probes, "not found by its own vector"
            if name == MAIN:
                collection.upsert([[0.5] * DIMENSION], ids=["probe"])
                assert collection.search([0.5] * DIMENSION, 1)[0].id == "probe"
                assert collection.delete(["probe"]) == 1
    return allowed.index(found)


def difference(found: State, allowed: list[State]) -> str:
    """Say in what `found` differs from the last allowed state, for a test's message."""
    wanted = allowed[-1]
    if set(found) != set(wanted):
        return f"collections {sorted(found)}, expected {sorted(wanted)}"
    said = []
    for name in wanted:
        missing, extra = set(wanted[name]) - set(found[name]), set(found[name]) - set(wanted[name])
        other = [
            i for i in set(wanted[name]) & set(found[name]) if wanted[name][i] != found[name][i]
        ]
        said.append(
            f"{name}: {len(missing)} missing {sorted(missing)[:3]}, {len(extra)} too many "
            f"{sorted(extra)[:3]}, {len(other)} different {sorted(other)[:3]}"
        )
    return "; ".join(said)
