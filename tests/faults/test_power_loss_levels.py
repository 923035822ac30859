"""F3 at the lower levels of durability: what may be lost, and what may not.

"normal": the last commits of a collection, whole ones; nothing that closing or compacting has put
on disk, and no name of a collection. "off": anything, noticed or not, but nothing worse than an
error of ours.
"""

from __future__ import annotations

import shutil
from collections import Counter

import fault_load
from fault_load import MAIN, Stored
from fault_sizes import size
from power_loss import distinct, put, record

from m2m_rag import Database
from m2m_rag.errors import M2MError

SEED = 23
N_STATES = size(600, 5000)
N_STEPS = 30
N_SUBSETS = 2
EVERY = size(15, 3)
"""One in so many of the states of a recording is looked at: so several recordings count."""


def recorded(tmp_path, durability):
    """Yield the states to try of one recording after the other, and what was done in it."""
    n_tried = n_runs = 0
    while True:
        seed, root, log = SEED + n_runs, tmp_path / f"db{n_runs}", tmp_path / "log"
        n_runs += 1
        record(root, log, "fault_load.run", seed, 0, N_STEPS, durability)
        states = fault_load.states(seed, 0, N_STEPS, {})
        for number, crash in enumerate(distinct(log, root, seed, N_SUBSETS)):
            if number % EVERY == n_runs % EVERY:
                if n_tried == N_STATES:
                    return
                n_tried += 1
                yield seed, root, states, crash


def synced(seed, states, n):
    """Return the last of the first n steps that put all commits on disk, or 0."""
    done = [fault_load.plan(seed, number, states[number]).name for number in range(n)]
    return max([i + 1 for i, name in enumerate(done) if name in ("reopen", "compact")], default=0)


def allowed_when_normal(seed, states, n):
    """Return what may be there after n steps: names as they are, MAIN as some commit left it."""
    return [
        {**names, MAIN: states[number][MAIN]} if MAIN in names else names
        for names in states[n : n + 2]
        for number in range(synced(seed, states, n), min(n + 2, len(states)))
        if MAIN in states[number] or MAIN not in names
    ]


def test_normal_loses_the_last_commits_whole(tmp_path, quick, fault_table, monkeypatch):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    n_tried = n_behind = 0
    for seed, root, states, crash in recorded(tmp_path, "normal"):
        folder = quick / "db"
        put(crash.tree, root, folder)
        n = len(crash.acknowledged)
        try:
            found = fault_load.check(folder, None, most_probes=3)
            allowed = allowed_when_normal(seed, states, n)
            with Database(folder) as database:
                state = fault_load.read(database)
            assert state in allowed, fault_load.difference(state, allowed)
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, {crash.kind} after call {crash.n_calls} and {n} steps: {error}"
            ) from error
        assert found == 0
        n_behind += state not in states[n : n + 2]
        n_tried += 1
        shutil.rmtree(folder)
    fault_table.add(
        "F3", 'power loss at durability="normal"', n_tried, SEED,
        unreadable=0, torn=0, wrong=0, behind_by_whole_commits=n_behind,
    )  # fmt: skip
    assert n_behind


def test_off_ends_in_an_error_of_ours_at_worst(tmp_path, quick, fault_table, monkeypatch):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    outcomes = Counter(a_whole_commit=0, an_error=0, told_by_verify=0, unnoticed=0)
    for seed, root, states, crash in recorded(tmp_path, "off"):
        folder = quick / "db"
        put(crash.tree, root, folder)
        try:
            outcomes[outcome(folder, states[: len(crash.acknowledged) + 2])] += 1
        except Exception as error:
            raise AssertionError(
                f"seed {seed}, {crash.kind} after call {crash.n_calls}: {error}"
            ) from error
        shutil.rmtree(folder, ignore_errors=True)
    fault_table.add(
        "F3", 'power loss at durability="off"', outcomes.total(), SEED, crashed=0, **outcomes
    )
    assert outcomes["a_whole_commit"]
    assert outcomes["an_error"]


def outcome(folder, states):
    """Use a database after a power loss at "off", and say how it is."""
    try:
        with Database(folder) as database:
            is_sound = database.verify().is_sound
            found = {}
            for name in database.list():
                collection = database.open(name)
                found[name] = [
                    (r.id, Stored(r.text or "", r.metadata, tuple(r.vector.tolist())))
                    for r in collection.get(include_vectors=True)
                ]
                collection.search([[0.5] * (collection.dimension or 1)], 3)
    except M2MError:
        return "an_error"
    records = dict(found.get(MAIN, []))
    is_whole = len(records) == len(found.get(MAIN, [])) and records in [
        state.get(MAIN, {}) for state in states
    ]
    return "a_whole_commit" if is_whole else "unnoticed" if is_sound else "told_by_verify"
