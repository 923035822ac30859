"""F3 in upkeep: power loss while backing up, restoring, migrating and saving an index.

What was acknowledged is there. A backup, a restored database and a migration are whole or absent;
an index may be missing or damaged, and never answers wrong.
"""

from __future__ import annotations

import json
import shutil
from itertools import islice

import backup_load
import index_load
import migration_load
import pytest
from fault_load import read
from fault_sizes import size
from golden import FOLDER
from power_loss import distinct, put, record
from upkeep_load import INDEX_FROM
from zygote import Zygote

from m2m_rag import Database, _indexing

SEED = 31
SEEDS = range(SEED, SEED + size(1, 2))
"""One for each recording."""
N_SUBSETS = 2
N_ROOM_STEPS = 6
EVERY_ROOM, EVERY_MIGRATED, EVERY_INDEXED = size(6, 2), size(6, 1), size(48, 20)
"""One in so many of the states of a recording is looked at: so some of each of its steps are."""
FORMATS = sorted(folder.name for folder in FOLDER.glob("format-*"))


@pytest.fixture(scope="module")
def compiled():
    """A process in which an index is built in no time."""
    with Zygote({"M2M_BACKEND": "numba"}) as zygote:
        yield zygote


def outcomes(crashes, every, root, folder, check):
    """Check some states of the disk, as `check(folder, n_steps)` does; return what it returned."""
    found = []
    for crash in islice(crashes, 0, None, every):
        put(crash.tree, root, folder)
        n_steps = len(crash.acknowledged)
        try:
            found.append(check(folder, n_steps))
        except Exception as error:
            raise AssertionError(
                f"{root.name}, {crash.kind} after call {crash.n_calls} and {n_steps} steps: {error}"
            ) from error
        shutil.rmtree(folder)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_power_loss_while_backing_up_and_restoring(
    tmp_path, quick, compiled, fault_table, monkeypatch, seed
):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    before, root, log = tmp_path / "before", tmp_path / "room", tmp_path / "log"
    compiled.run("backup_load:prepare", str(before / "db"), seed)
    shutil.copytree(before, root)
    with Database(before / "db", read_only=True) as database:
        rooms = backup_load.rooms(seed, N_ROOM_STEPS, read(database))
    record(root, log, "backup_load.back_up", seed, N_ROOM_STEPS)
    n_left = outcomes(
        distinct(log, root, seed, N_SUBSETS, before), EVERY_ROOM, root, quick / "room",
        lambda folder, n: backup_load.check_room(folder, rooms[n : n + 2]),
    )  # fmt: skip
    fault_table.add(
        "F3", "power loss while backing up and restoring", len(n_left), SEED,
        unreadable=0, lost=0, wrong=0, recordings=1, unfinished_removed=sum(n_left),
    )  # fmt: skip
    assert sum(n_left)


@pytest.mark.parametrize("golden", FORMATS)
def test_power_loss_while_migrating(tmp_path, quick, fault_table, monkeypatch, golden):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    before, root, log = FOLDER / golden / "database", tmp_path / golden, tmp_path / "log"
    expected = json.loads((FOLDER / golden / "answers.json").read_text(encoding="utf-8"))
    shutil.copytree(before, root)
    record(root, log, "migration_load.migrate", *expected["names"])
    n_kept = outcomes(
        distinct(log, root, SEED, N_SUBSETS, before), EVERY_MIGRATED, root, quick / "db",
        lambda folder, n: migration_load.check_migrated(folder, expected, n),
    )  # fmt: skip
    fault_table.add(
        "F3", "power loss while migrating", len(n_kept), SEED,
        unreadable=0, lost=0, wrong=0, recordings=1, kept_beside=sum(map(bool, n_kept)),
    )  # fmt: skip
    assert any(n_kept) == (golden != FORMATS[-1]), "the present format is not migrated"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lost_syncs", [(), (".hrm2.tmp",)], ids=["synced", "the disk lies"])
def test_power_loss_while_saving_an_index(
    tmp_path, quick, fault_table, monkeypatch, lost_syncs, seed
):
    """Also where the disk lies about the index's syncs: then it is damaged under its own name."""
    monkeypatch.setenv("M2M_BACKEND", "numba")
    monkeypatch.setattr(_indexing, "INDEX_FROM", INDEX_FROM)
    root, log = tmp_path / "db", tmp_path / "log"
    record(root, log, "index_load.index", seed, backend="numba")
    states = index_load.index_states(seed)
    is_damaged = outcomes(
        distinct(log, root, seed, N_SUBSETS, lost_syncs=lost_syncs), EVERY_INDEXED, root,
        quick / "db", lambda folder, n: index_load.check_index(folder, states[n : n + 2]),
    )  # fmt: skip
    fault_table.add(
        "F3", "power loss while saving an index", len(is_damaged), SEED,
        unreadable=0, lost=0, wrong=0, recordings=1, damaged_indexes=sum(is_damaged),
    )  # fmt: skip
    assert any(is_damaged) == bool(lost_syncs)
