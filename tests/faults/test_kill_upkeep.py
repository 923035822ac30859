"""kill -9 in the middle of a compaction, a backup or a restore: before or after, never between."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from fault_sizes import size

from m2m_rag import Database

N, D = 4000, 64
N_KILLS = size(8, 60)
SEED = 3
COMPACTING = """
import sys
from m2m_rag import Database
with Database(sys.argv[1]) as database:
    collection = database.open("c")
    first = int(collection.ids()[0])
    print("ready", flush=True)
    for step in range(first, 10**6, 5):
        collection.delete([str(row) for row in range(step, step + 5)])
        print(step + 5, flush=True)
        collection.compact(erase=step % 2 == 0)
        print("compacted", flush=True)
"""
BACKING_UP = """
import sys
from m2m_rag import Database
print("ready", flush=True)
with Database(sys.argv[1], read_only=True) as database:
    for number in range(10**6):
        database.backup(f"{sys.argv[2]}/backup{number}")
        print(number, flush=True)
"""
RESTORING = """
import sys
from m2m_rag import Database
print("ready", flush=True)
for number in range(10**6):
    Database.restore(sys.argv[1], f"{sys.argv[2]}/backup{number}").close()
    print(number, flush=True)
"""


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(SEED).normal(size=(N, D)).astype(np.float32)


@pytest.fixture
def path(tmp_path, vectors):
    with Database(tmp_path / "db") as database:
        ids = [str(row) for row in range(N)]
        database.create("c", metric="l2").add(vectors, ids=ids, texts=[f"text {i}" for i in ids])
    return tmp_path / "db"


def killed(code, *arguments, most_s=0.8):
    """Run a script, kill it some time after it is ready, and return what it acknowledged."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.0, most_s))
        child.kill()
        return [line.strip() for line in child.stdout if line.endswith("\n")]


def check(path, vectors, first, *, at_most=0):
    """The records from `first` on are there, whole; up to `at_most` more may be gone."""
    with Database(path) as database:
        collection = database.open("c")
        ids = collection.ids()
        assert int(ids[0]) - first in range(at_most + 1)
        assert ids == [str(row) for row in range(int(ids[0]), N)]
        records = collection.get(include_vectors=True)
        assert np.array_equal(np.stack([r.vector for r in records]), vectors[int(ids[0]) :])
        assert collection.search(vectors[-1], 1)[0].id == str(N - 1)
        report = database.verify()
        assert report.lost == []
        assert {finding.kind for finding in report.findings} <= {"leftover"}
        assert database.repair().left == []
        return int(ids[0])


def test_compacting(path, vectors, fault_table):
    random.seed(SEED)
    first = n_compacted = 0
    for _ in range(N_KILLS):
        said = killed(COMPACTING, path)
        acknowledged = max([int(line) for line in said if line.isdecimal()], default=first)
        n_compacted += said.count("compacted")
        first = check(path, vectors, acknowledged, at_most=5)
    fault_table.add(
        "F1", "kill -9 while compacting", N_KILLS, SEED,
        lost=0, torn=0, wrong=0, compactions=n_compacted,
    )  # fmt: skip
    assert n_compacted


@pytest.mark.parametrize("code", [BACKING_UP, RESTORING], ids=["backing up", "restoring"])
def test_backing_up_and_restoring(path, vectors, tmp_path, code, request, fault_table):
    random.seed(SEED)
    room = tmp_path / "room"
    n_made = n_left = 0
    for _ in range(N_KILLS):
        room.mkdir()
        said = killed(code, path, room)
        made = [folder for folder in room.iterdir() if not folder.name.endswith(".new")]
        assert len(made) - len(said) in (0, 1)
        for folder in made:
            check(folder, vectors, 0)
        n_made += len(made)
        for left in room.glob("*.new"):
            again = room / left.name.rsplit(".", 2)[0]
            Database.restore(path, again).close()
            assert again.is_dir()
            assert not left.exists(), "what the killed process left of it is still there"
            n_left += 1
        shutil.rmtree(room)
        check(path, vectors, 0)
    fault_table.add(
        "F1", f"kill -9 while {request.node.callspec.id}", N_KILLS, SEED,
        lost=0, torn=0, wrong=0, whole_ones=n_made, unfinished_removed=n_left,
    )  # fmt: skip
    assert n_made > N_KILLS
