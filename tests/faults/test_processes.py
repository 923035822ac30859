"""Several processes on one database: one writes at a time, and readers see whole commits."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from child_process import Child
from fault_sizes import size

from m2m_rag import Database
from m2m_rag.errors import WriterLockedError

N_ROUNDS = size(3, 20)
"""Writers that are killed while readers run."""
N_RACES = size(10, 100)
"""Times that each of `N_RACERS` processes opens and closes."""
N_RACERS, N_READERS = 5, 3
SEED = 404
SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c", 2).add([[1, 0], [0, 1]], ids=["x", "y"])
    return tmp_path / "db"


def test_a_reader_sees_a_commit_at_its_next_query(path):
    with Database(path) as database, Child(path) as reader:
        collection = database.open("c")
        assert reader.ask("[h.id for h in collection.search([1, 0], 3)]") == "['x', 'y']"
        for step in range(5):
            collection.add([[1, step / 100]], ids=[f"n{step}"])
            assert reader.ask("len(collection.search([1, 0], 100))") == str(3 + step)
            assert reader.ask("collection.count()") == str(3 + step)
        collection.delete(["x"])
        assert reader.ask("[h.id for h in collection.search([1, 0], 1)]") == "['n0']"
        collection.upsert([[0, -1]], ids=["n0"])
        assert reader.ask("[h.id for h in collection.search([0, -1], 1)]") == "['n0']"
        database.drop("c")
        assert "CollectionNotFoundError" in reader.ask("collection.count()")


def test_a_second_writer_is_told_who_holds_the_lock(path):
    with Database(path) as database, Child(path) as other:
        database.open("c").add([[1, 1]], ids=["z"])
        said = other.ask("collection.add([[1, 1]])")
        assert said.startswith("WriterLockedError")
        assert f"process {os.getpid()} on " in said
        assert other.ask("collection.count()") == "3"
        database.close()
        assert other.ask("collection.add([[1, 1]], ids=['w'])") == "['w']"
        with Database(path) as again:
            with pytest.raises(WriterLockedError, match=f"process {other.process.pid} on "):
                again.open("c").delete(["w"])
            other.process.kill()
            other.process.wait()
            assert again.open("c").delete(["w"]) == 1


def test_a_writer_may_wait_for_the_lock(path):
    with Child(path) as other:
        assert other.ask("collection.delete(['nothing'])") == "0"
        timer = threading.Timer(0.5, other.process.kill)
        timer.start()
        with Database(path, lock_timeout_s=30) as database:
            assert database.open("c").delete(["x"]) == 1
        timer.join()


def test_processes_may_create_one_database_at_the_same_moment(tmp_path):
    script = """
import sys, time
from m2m_rag import Database
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
with Database(sys.argv[1]) as database:
    print(database.list(), flush=True)
    sys.stdin.read()
"""
    for trial in range(3):
        command = [sys.executable, "-c", script, str(tmp_path / str(trial)), str(time.time() + 1)]
        processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        assert [process.stdout.readline() for process in processes] == ["[]\n"] * 3
        for process in processes:
            process.stdin.close()
            process.stdout.close()
            assert process.wait() == 0


def started(script, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SUPPORT / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_readers_see_whole_commits_while_writers_are_killed(tmp_path, fault_table):
    """Every writer is killed at a random moment; the readers never stop."""
    rng = random.Random(SEED)
    path = tmp_path / "db"
    with Database(path) as database:
        database.create("c", 3)
    readers = [started("reader.py", path, number) for number in range(N_READERS)]
    n_acknowledged = 0
    try:
        for round_ in range(N_ROUNDS):
            writer = started("writer.py", path, SEED + round_)
            assert writer.stdout.readline().strip(), "the lock of a killed writer is free"
            with (
                Database(path) as database,
                pytest.raises(WriterLockedError, match=f"{writer.pid}"),
            ):
                database.open("c").clear()
            time.sleep(rng.uniform(0.0, 0.5))
            writer.kill()
            n_acknowledged += 1 + len(writer.stdout.readlines())
            writer.stdin.close()
            writer.stdout.close()
            assert writer.wait() == -9
    finally:
        said = [reader.communicate("stop\n")[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * N_READERS
    reads = [int(answer) for answer in said]
    fault_table.add(
        "F8", f"writers killed beside {N_READERS} readers", N_ROUNDS, SEED,
        torn=0, refused_second_writers=N_ROUNDS, commits=n_acknowledged, reads=sum(reads),
    )  # fmt: skip
    assert min(reads) > N_ROUNDS


def test_two_writers_take_turns(tmp_path, fault_table):
    """Each waits for the other's lock, and nothing of either is lost."""
    path = tmp_path / "db"
    Database(path).close()
    n = size(8, 40)
    script = """
import sys
from m2m_rag import Database
for turn in range(int(sys.argv[3])):
    with Database(sys.argv[1], lock_timeout_s=60) as database:
        collection = database.create("c", 1, exist_ok=True)
        collection.add([[1], [2], [3]], ids=[f"{sys.argv[2]}-{turn}-{i}" for i in range(3)])
"""
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name, str(n)]) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    with Database(path) as database:
        expected = {f"{name}-{turn}-{i}" for name in "ab" for turn in range(n) for i in range(3)}
        assert set(database.open("c").ids()) == expected
    fault_table.add("F8", "two writers in turns", 2 * n, None, lost=0)


def test_opening_and_closing_races(path, fault_table):
    """The last one to close a catalog removes its log; nobody else may lose anything by it."""
    racers = [started("racer.py", path, number, N_RACES) for number in range(N_RACERS)]
    said = [racer.communicate()[0].split() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * N_RACERS
    written = [id_ for ids in said for id_ in ids]
    assert written
    with Database(path) as database:
        assert sorted(database.open("c").ids()) == sorted(["x", "y", *written])
    n = N_RACERS * N_RACES
    fault_table.add("F8", "races of opening and closing", n, None, lost=0, writes=len(written))
