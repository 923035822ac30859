"""F3: power loss at any moment: what was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import shutil
from collections import Counter

import fault_load
import group_load
from fault_sizes import size
from power_loss import count_syncs, distinct, put, record

SEED = 11
N_STATES = size(2000, 20_000)
N_STEPS = 30
N_GROUP_STATES = size(1000, 10_000)
N_THREADS, N_THREAD_STEPS = 5, 8
N_SUBSETS = 2
EVERY = 3
"""One in so many of the states of a recording is looked at: so several recordings count."""


def test_power_loss_at_any_moment(tmp_path, quick, fault_table, monkeypatch):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    kinds, in_flight, n_tried, n_runs = Counter(), 0, 0, 0
    while n_tried < N_STATES:
        seed, root, log = SEED + n_runs, tmp_path / f"db{n_runs}", tmp_path / "log"
        n_runs += 1
        record(root, log, "fault_load.run", seed, 0, N_STEPS)
        states = fault_load.states(seed, 0, N_STEPS, {})
        for number, crash in enumerate(distinct(log, root, seed, N_SUBSETS)):
            if n_tried == N_STATES or number % EVERY != n_runs % EVERY:
                continue
            folder = quick / "db"
            put(crash.tree, root, folder)
            n_acknowledged = len(crash.acknowledged)
            allowed = states[n_acknowledged : n_acknowledged + 2]
            try:
                in_flight += fault_load.check(folder, allowed, most_probes=3)
            except Exception as error:
                raise AssertionError(
                    f"seed {seed}, {crash.kind} after call {crash.n_calls} and "
                    f"{n_acknowledged} steps: {error}"
                ) from error
            shutil.rmtree(folder)
            kinds[crash.kind] += 1
            n_tried += 1
    fault_table.add(
        "F3", "power loss, strace-log replay", n_tried, SEED,
        unreadable=0, lost=0, wrong=0, recordings=n_runs, stored_unasked=in_flight,
    )  # fmt: skip
    assert set(kinds) == {"drop", "names", "zeros", "torn", "all", "subset"}


def test_power_loss_while_threads_share_commits(tmp_path, quick, fault_table, monkeypatch):
    """Whatever of a group had returned is there, each step whole, in every state of the disk."""
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    in_flight = n_tried = n_runs = n_commits = n_acknowledged = 0
    while n_tried < N_GROUP_STATES:
        seed, root, log = SEED + n_runs, tmp_path / f"db{n_runs}", tmp_path / "log"
        n_runs += 1
        record(root, log, "group_load.run", seed, N_THREADS, N_THREAD_STEPS)
        n_commits += count_syncs(log, "/catalog.sqlite-wal")
        for number, crash in enumerate(distinct(log, root, seed, N_SUBSETS)):
            if n_tried == N_GROUP_STATES or number % EVERY != n_runs % EVERY:
                continue
            folder = quick / "db"
            put(crash.tree, root, folder)
            try:
                in_flight += group_load.check_threads(
                    folder, seed, crash.acknowledged, N_THREADS, N_THREAD_STEPS
                )
            except Exception as error:
                raise AssertionError(
                    f"seed {seed}, {crash.kind} after call {crash.n_calls} and "
                    f"{len(crash.acknowledged)} steps: {error}"
                ) from error
            shutil.rmtree(folder)
            n_tried += 1
        n_acknowledged += N_THREADS * N_THREAD_STEPS
    fault_table.add(
        "F3", f"power loss while {N_THREADS} threads share commits", n_tried, SEED,
        unreadable=0, lost=0, wrong=0, recordings=n_runs, stored_unasked=in_flight,
    )  # fmt: skip
    print(f"{n_commits} syncs of logs for {n_acknowledged} steps")
    assert n_commits < 0.7 * n_acknowledged, "the threads did not share"
