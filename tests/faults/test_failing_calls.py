"""F4, F5: writes, syncs and names that fail, stop half-way or never return; a full disk.

The k-th call fails, for one k after the other, until the steps pass untouched. Whatever fails, the
caller gets an error of ours, the state is what it was before, and the same step works afterwards.
After a sync that failed it works once the database was opened again, and is refused until then.

A disk that is really full is `test_small_disk`'s.
"""

from __future__ import annotations

import errno
import random
import shutil

import backup_load
import fault_load
import pytest
from failing_calls import (
    FROM_THEN_ON,
    HALF,
    KILL,
    NAMES,
    ONCE,
    OTHERS,
    SYNCS,
    WRITES,
    compile_library,
)
from fault_sizes import size
from zygote import Zygote

from m2m_rag import Database

SEED = 11450
N_BEFORE, N_STEPS = 8, 10
N_CALLS = size(40, 10_000)
"""How many k of each kind are tried; there are some hundreds."""
N_BACKUP_CALLS = size(12, 100)
ALL = WRITES | SYNCS | OTHERS | NAMES
FAULTS = {
    "a write fails": (WRITES, errno.EIO, ONCE),
    "a write stops half-way": (WRITES, errno.ENOSPC, HALF),
    "a sync fails": (SYNCS, errno.EIO, ONCE),
    "a truncation or rename fails": (OTHERS, errno.EIO, ONCE),
    "a name is not made or removed": (NAMES, errno.EIO, ONCE),
    "a name is refused": (NAMES, errno.EACCES, ONCE),
    "no room for names from then on": (NAMES, errno.ENOSPC, FROM_THEN_ON),
    "the disk is full from then on": (WRITES | OTHERS, errno.ENOSPC, FROM_THEN_ON),
    "every call fails from then on": (ALL, errno.EIO, FROM_THEN_ON),
    "killed before a call": (ALL, 0, KILL),
    "killed half-way in a write": (ALL, 0, KILL | HALF),
}


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    library = compile_library(tmp_path_factory.mktemp("library"))
    with Zygote({"LD_PRELOAD": str(library)}) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def base(failing, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "db"
    failing.run("fault_load:run", str(path), SEED, 0, N_BEFORE)
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_the_kth_call_fails(failing, base, tmp_path, fault_table, fault):
    calls, error, how = FAULTS[fault]
    states = fault_load.states(
        SEED, N_BEFORE, N_STEPS, fault_load.states(SEED, 0, N_BEFORE, {})[-1]
    )
    n_calls = count(failing, base, tmp_path, calls)
    ks = range(1, n_calls + 1)
    if len(ks) > N_CALLS:
        ks = sorted(random.Random(SEED).sample(ks, N_CALLS))
    n_raised = n_killed = 0
    for k in ks:
        path = tmp_path / "db"
        shutil.copytree(base, path)
        child = failing.start(
            "failing_calls:attempt", str(path), SEED, N_BEFORE, N_STEPS, calls, k, error, how
        )
        said = child.lines()
        n_done = sum(line.isdigit() for line in said)
        if child.status == -9:
            assert how & KILL
            fault_load.check(path, states[n_done : n_done + 2])
            n_killed += 1
        else:
            assert child.status == 0, (k, said[-4:])
            assert n_done == N_STEPS
            fault_load.check(path, states[-1:])
            n_raised += len(said) > N_STEPS + 1
        shutil.rmtree(path)
    fault_table.add(
        "F4", fault, len(ks), SEED, lost=0, wrong=0, calls=n_calls,
        **({"killed": n_killed} if how & KILL else {"raised": n_raised}),
    )  # fmt: skip
    assert n_raised + n_killed > len(ks) // 4


def count(failing, base, tmp_path, calls):
    """Return how many calls there are when none fails."""
    shutil.copytree(base, tmp_path / "counted")
    said = failing.run(
        "failing_calls:attempt", str(tmp_path / "counted"), SEED, N_BEFORE, N_STEPS, calls, 0, 0, 0
    )
    return int(said[-1].removeprefix("calls "))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A folder with a database that has sealed files and an index, which a backup links."""
    path = tmp_path_factory.mktemp("room") / "room"
    with Zygote({"M2M_BACKEND": "numba"}) as compiled:
        compiled.run("backup_load:prepare", str(path / "db"), SEED)
    return path


BACKUP_FAULTS = {
    "a call fails": (ALL, errno.EIO, ONCE),
    "a name is not made or removed": (NAMES, errno.EIO, ONCE),
    "no room for names from then on": (NAMES, errno.ENOSPC, FROM_THEN_ON),
    "every call fails from then on": (ALL, errno.EIO, FROM_THEN_ON),
    "killed before a call": (ALL, 0, KILL),
}


@pytest.mark.parametrize("fault", BACKUP_FAULTS)
def test_the_kth_call_of_a_backup_or_restore_fails(failing, room, tmp_path, fault_table, fault):
    """It is whole, or absent and an error told so; what was left goes when it is made again."""
    calls, error, how = BACKUP_FAULTS[fault]
    with Database(room / "db", read_only=True) as database:
        state = fault_load.read(database)
    made = {"backup-1": state, "restore-2": state}
    path = tmp_path / "room"

    def attempt(k, how):
        shutil.copytree(room, path)
        child = failing.start("failing_calls:attempt_backup", str(path), calls, k, error, how)
        return child, child.lines()

    n_calls = int(attempt(0, ONCE)[1][-1].removeprefix("calls "))
    ks = random.Random(SEED).sample(range(1, n_calls + 1), min(n_calls, N_BACKUP_CALLS))
    n_raised = n_left = 0
    for k in ks:
        shutil.rmtree(path)
        child, said = attempt(k, how)
        is_told = child.status == -9 or said[0].startswith("failed: ")
        assert child.status in ((-9,) if how & KILL else (0,)), (k, said[-4:])
        whole = backup_load.Room(state, made)
        n_left += backup_load.check_room(
            path, [backup_load.Room(state, {}), whole] if is_told else [whole]
        )
        n_raised += is_told
    fault_table.add(
        "F4", f"backing up and restoring: {fault}", len(ks), SEED, lost=0, wrong=0, calls=n_calls,
        told=n_raised, unfinished_removed=n_left,
    )  # fmt: skip
    assert n_raised


def test_a_disk_that_fills_up(zygote, tmp_path, fault_table):
    limits = [40_000, 80_000, 150_000, 300_000, 600_000]
    n_trials = size(1, 20)
    for limit in limits:
        for trial in range(n_trials):
            path = tmp_path / f"{limit}-{trial}"
            said = zygote.run("failing_calls:fill", str(path), SEED + trial, limit)
            n = sum(line.isdigit() for line in said)
            assert any(line.startswith("full: ") for line in said), "the limit was never met"
            fault_load.check(path, fault_load.states(SEED + trial, 0, n, {})[-1:])
    fault_table.add(
        "F5", f"file size limits {limits}", len(limits) * n_trials, SEED, lost=0, wrong=0
    )
