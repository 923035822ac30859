"""Runs steps of the load while a chosen call of the system fails (see ``failing_calls.c``).

`compile_library` makes the library, `Zygote` preloads it, `attempt` and `attempt_backup` run in the
zygote's child.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
from pathlib import Path

from fault_load import MAIN, Load, State, Step, columns, plan, read

from m2m_rag import Database
from m2m_rag.errors import M2MError, ReadOnlyError, StorageError, SyncError

WRITES, SYNCS, OTHERS, NAMES = 1, 2, 4, 8
ONCE, FROM_THEN_ON, HALF, KILL = 0, 1, 2, 4


def compile_library(folder: Path) -> Path:
    """Compile the library into `folder` and return its path."""
    library = folder / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    command = ["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source, "-ldl"]
    subprocess.run(command, check=True)
    return library


def attempt(
    path: str, seed: int, first: int, n: int, calls: int, k: int, error: int, how: int
) -> None:
    """Open the database at `path`, run n steps while the k-th of the calls fails, and close it.

    A call that fails must show as an error of ours, the state be what it was, and the same step
    work afterwards: at once, or after opening again when what failed was a sync. The child says
    each step that was done, and at the end how many calls there were.
    """
    library = ctypes.CDLL(None)
    with Database(path, read_only=True) as database:
        state = read(database)
    library.fault_arm(os.fsencode(path), calls, ctypes.c_long(k), error, how)
    load = None
    try:
        load = Load(path)
        assert read(load.database) == state
    except M2MError as failure:
        print(f"open: {type(failure).__name__}: {failure}", flush=True)
        library.fault_disarm()
        load = load or Load(path)
        assert read(load.database) == state
    for number in range(first, first + n):
        step = plan(seed, number, state)
        try:
            step.act(load)
        except M2MError as failure:
            print(f"{step.name}: {type(failure).__name__}: {failure}", flush=True)
            library.fault_disarm()
            _again(load, step, state, failure, calls)
        state = step.after
        print(number, flush=True)
    load.database.close()
    print(f"calls {library.fault_disarm()}", flush=True)


def attempt_backup(path: str, calls: int, k: int, error: int, how: int) -> None:
    """Back up ``path/db`` and restore the backup, beside it, while the k-th of the calls fails.

    The child says what failed, and at the end how many calls there were.
    """
    library = ctypes.CDLL(None)
    library.fault_arm(os.fsencode(path), calls, ctypes.c_long(k), error, how)
    try:
        with Database(f"{path}/db", read_only=True) as database:
            database.backup(f"{path}/backup-1")
        Database.restore(f"{path}/backup-1", f"{path}/restore-2").close()
    except M2MError as failure:
        print(f"failed: {type(failure).__name__}: {failure}", flush=True)
    print(f"calls {library.fault_disarm()}", flush=True)


def _again(load: Load, step: Step, state: State, failure: M2MError, calls: int) -> None:
    """Do a step again that failed; where a sync has failed, a write is refused until reopened."""
    if load.database.closed:
        load.reopen()
    assert read(load.database) == state, "an error was raised and the state changed"
    try:
        step.act(load)
        is_refused = False
    except ReadOnlyError as refused:
        print(f"again: {type(refused).__name__}: {refused}", flush=True)
        is_refused = True
    assert not is_refused or calls & SYNCS, "refused though no sync has failed"
    if isinstance(failure, SyncError) and step.name != "reopen":
        assert is_refused, "wrote on after a sync that failed"
    if is_refused:
        load.reopen()
        assert read(load.database) == state
        step.act(load)
    assert read(load.database) == step.after


def fill(path: str, seed: int, limit: int) -> None:
    """Do steps until no file may grow any more; read; delete with 5 % more room (64 KiB); go on.

    The child says each step that was done.
    """
    load, state, number = Load(path), {}, 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    while True:
        step = plan(seed, number, state)
        try:
            step.act(load)
        except StorageError as failure:
            print(f"full: {type(failure).__name__}: {failure}", flush=True)
            break
        state, number = step.after, number + 1
        print(number, flush=True)
    if load.database.closed:
        load.database = Database(path)
    assert read(load.database) == state
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (limit + max(limit // 20, 1 << 16), resource.RLIM_INFINITY)
    )
    gone = dict(list(state.get(MAIN, {}).items())[:3])
    if gone:
        collection = load.database.open(MAIN)
        assert collection.delete(list(gone)) == len(gone)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    if gone:
        collection.add(**columns(gone))
    for _ in range(5):
        step = plan(seed, number, state)
        step.act(load)
        state, number = step.after, number + 1
        print(number, flush=True)
    assert read(load.database) == state
    load.database.close()
