"""F1, F2: kill -9 at random moments: nothing acknowledged is lost, no batch is half there."""

from __future__ import annotations

import random
import time

import fault_load
from fault_sizes import size

SEED = 2024
N_KILLS = size(50, 1000)
N_RECOVERIES = size(20, 200)
LONGEST_S = 0.5
"""Longest life of a writer past its first acknowledgement."""
LONGEST_OPENING_S = 0.1
"""Somewhat more than recovering and reading it all takes."""
KILLS_OF_ONE_DATABASE = 25


def killed(zygote, path, seed, first):
    """Run steps, kill them at a random moment, and return how many were acknowledged."""
    child = zygote.start("fault_load:run", str(path), seed, first, 100_000)
    said = [child.line()]
    time.sleep(random.uniform(0.0, LONGEST_S))
    child.kill()
    said += child.lines()
    assert child.status == -9, said[-3:]
    assert [int(line) for line in said] == list(range(first, first + len(said)))
    return len(said)


def test_kill_at_random_moments(zygote, tmp_path, fault_table):
    random.seed(SEED)
    n_acknowledged = n_in_flight = 0
    slowest_s = 0.0
    for trial in range(N_KILLS):
        if trial % KILLS_OF_ONE_DATABASE == 0:
            path, seed, first, state = tmp_path / str(trial), SEED + trial, 0, {}
        n = killed(zygote, path, seed, first)
        states = fault_load.states(seed, first, n + 1, state)
        begin = time.perf_counter()
        found = fault_load.check(path, states[-2:])
        slowest_s = max(slowest_s, time.perf_counter() - begin)
        state, first = states[n + found], first + n + found
        n_acknowledged += n
        n_in_flight += found
    fault_table.add(
        "F1", "kill -9 of a writer", N_KILLS, SEED,
        lost=0, torn=0, wrong=0, acknowledged=n_acknowledged, stored_unasked=n_in_flight,
    )  # fmt: skip
    assert n_acknowledged > N_KILLS


def test_kill_while_opening_and_recovering(zygote, tmp_path, fault_table):
    random.seed(SEED)
    n_kills = n_late = 0
    for trial in range(N_RECOVERIES):
        path, seed = tmp_path / str(trial), SEED + trial
        n = killed(zygote, path, seed, 0)
        state = fault_load.states(seed, 0, n + 1, {})[-2:]
        for _ in range(random.randint(1, 5)):
            child = zygote.start("fault_load:recover", str(path))
            time.sleep(random.uniform(0.0, LONGEST_OPENING_S))
            child.kill()
            n_late += "recovered" in child.lines()
            n_kills += 1
        fault_load.check(path, state)
    fault_table.add(
        "F2", "kill -9 while opening after a kill", n_kills, SEED,
        lost=0, torn=0, wrong=0, killed_before_open=n_kills - n_late,
    )  # fmt: skip
    assert n_kills > n_late
