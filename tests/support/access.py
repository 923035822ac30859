"""Uses a database as a user who may not write it."""

from __future__ import annotations

import os
from pathlib import Path

import fault_load

from m2m_rag import Database
from m2m_rag.errors import M2MError

NOBODY = 65534


def protect(path: Path) -> None:
    """Let everybody read and nobody write what is under `path`."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            os.chmod(Path(folder, name), 0o444)
        os.chmod(folder, 0o555)


def give_up_rights() -> None:
    """Become a user for whom permissions count: for root they do not."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def use(path: str, read_only: bool) -> None:
    """Read all, search, and try to write; say what came of it."""
    give_up_rights()
    try:
        database = Database(path, read_only=read_only)
        state = fault_load.read(database)
        print(f"read {len(state[fault_load.MAIN])}", flush=True)
        collection = database.open(fault_load.MAIN)
        some = next(iter(state[fault_load.MAIN].items()))
        assert collection.search(some[1].vector, 1)[0].id == some[0]
    except M2MError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return
    for act in (
        lambda: collection.delete([some[0]]),
        lambda: collection.add([[1.0] * fault_load.DIMENSION]),
        lambda: database.create("other"),
        lambda: database.drop(fault_load.MAIN),
    ):
        try:
            act()
            print("wrote", flush=True)
        except M2MError as error:
            print(f"{type(error).__name__}: {error}", flush=True)
    assert fault_load.read(database) == state
    database.close()
