"""What each durability level asks of the disk, counted by strace, and that all survive a kill."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from open_files import open_files

from m2m_rag import Database, _indexing
from m2m_rag.errors import InvalidInputError, ReadOnlyError, SyncError
from m2m_rag.storage import catalog, group
from m2m_rag.storage.vectors import appending

N = 20
N_THREADS, N_EACH = 16, 50
CHILD = """
import os, sys, threading
from m2m_rag import Database

def mark(path):
    try:
        open(path)
    except FileNotFoundError:
        pass

with Database(sys.argv[1], durability=sys.argv[2]) as database:
    collection = database.create("c", 8)
    collection.add([[0.5] * 8], ids=["first"], texts=["a text"], metadatas=[{"n": 1}])
    mark("/begin")
    def work(first, n):
        for number in range(first, first + n):
            collection.add([[0.5] * 8], ids=[str(number)], texts=["a text"], metadatas=[{"n": 1}])
    n_threads, n = int(sys.argv[3]), int(sys.argv[4])
    threads = [threading.Thread(target=work, args=(n * i, n)) for i in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mark("/end")
    os.kill(os.getpid(), 9)
"""


def traced(tmp_path, durability, n_threads=1, n=N):
    """Return the calls between the marks, and the database's path."""
    log, path = tmp_path / "calls", tmp_path / "db"
    command = ["strace", "-f", "-o", str(log), "-e", "trace=fsync,fdatasync,openat"]
    child = [sys.executable, "-c", CHILD, str(path), durability, str(n_threads), str(n)]
    assert subprocess.run([*command, *child], check=False).returncode in (-9, 137)
    text = log.read_text()
    between = text[text.index('"/begin"') : text.index('"/end"')]
    lines = [line for line in between.splitlines() if "sync(" in line and "resumed" not in line]
    return lines, path


@pytest.mark.parametrize(("durability", "most"), [("full", 2 * N), ("normal", N), ("off", 0)])
def test_one_row_costs_at_most_two_syncs(tmp_path, durability, most):
    calls, path = traced(tmp_path, durability)
    assert len(calls) <= most
    assert len(calls) >= most - N
    with Database(path) as database:
        collection = database.open("c")
        assert collection.ids() == ["first", *(str(number) for number in range(N))]
        assert len(collection.search(text="text", k=100)) == N + 1


@pytest.mark.parametrize(("durability", "most"), [("full", 0.5), ("normal", 0.25)])
def test_threads_share_syncs(tmp_path, durability, most):
    calls, path = traced(tmp_path, durability, N_THREADS, N_EACH)
    n = N_THREADS * N_EACH
    print(f"{durability}: {len(calls)} syncs for {n} adds of {N_THREADS} threads")
    assert len(calls) < most * n
    with Database(path) as database:
        assert set(database.open("c").ids()) == {"first", *(str(number) for number in range(n))}


def test_it_is_shown_and_checked(tmp_path):
    for durability in ("full", "normal", "off"):
        with Database(tmp_path / "db", durability=durability) as database:
            collection = database.create("c", exist_ok=True)
            assert collection.stats()["durability"] == durability
    with Database.in_memory() as database:
        assert database.create("c").stats()["durability"] == "memory"
    with pytest.raises(InvalidInputError, match="Did you mean 'full'"):
        Database(tmp_path / "other", durability="ful")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("durability", "happened"),
    [("normal", ["synced", "saved"]), ("full", ["synced", "saved"]), ("off", ["saved"])],
)
def test_an_index_is_saved_only_of_what_is_on_disk(tmp_path, monkeypatch, durability, happened):
    """Also with "full": another process may have committed with "normal"."""
    monkeypatch.setattr(_indexing, "INDEX_FROM", 100)
    events = []

    def noted(module, name, event):
        real = getattr(module, name)

        def call(*arguments):
            found = real(*arguments)
            events.append(event)
            return found

        monkeypatch.setattr(module, name, call)

    noted(catalog, "sync_log", "synced")
    noted(_indexing.snapshots, "save", "saved")
    with Database(tmp_path / "db", durability=durability) as database:
        collection = database.create("c")
        collection.add(np.random.default_rng(0).normal(size=(200, 4)))
        assert collection.wait_for_index()
        assert events == happened


READ_BESIDE = """
import sys
from m2m_rag import Database

def mark(path):
    try:
        open(path)
    except FileNotFoundError:
        pass

with Database(sys.argv[1], durability="normal") as database:
    collection = database.create("c", 8)
    collection.add([[0.5] * 8] * 3, ids=["a", "b", "c"])
    collection.delete(["c"])
    collection.flush()
    with Database(sys.argv[1], read_only=True) as reading:
        unfinished = iter(reading.open("c"))
        next(unfinished)
        collection.add([[0.5] * 8], ids=["d"])
        mark("/begin")
        if sys.argv[2] == "close":
            database.close()
        else:
            getattr(collection, sys.argv[2])()
        mark("/end")
"""


@pytest.mark.parametrize("how", ["flush", "compact", "close"])
def test_normal_is_on_disk_after(how, tmp_path):
    """Also when a reader of an older commit keeps SQLite from emptying its log."""
    log = tmp_path / "calls"
    command = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=fsync,fdatasync,openat"]
    child = [sys.executable, "-c", READ_BESIDE, str(tmp_path / "db"), how]
    subprocess.run([*command, *child], check=True)
    text = log.read_text()
    between = text[text.index('"/begin"') : text.index('"/end"')]
    assert any("sync(" in line and "-wal>" in line for line in between.splitlines())


def test_off_syncs_no_vectors_after_a_compaction_either(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(appending, "sync_data", synced.append)
    with Database(tmp_path / "db", durability="off") as database:
        collection = database.create("c", 8)
        for _ in range(2):
            collection.add([[0.5] * 8] * 3)
            collection.delete([collection.ids()[0]])
            collection.compact()
    assert synced == []


@pytest.mark.parametrize("call", ["flush", "compact", "close"])
def test_a_log_that_cannot_be_synced_is_told_and_nothing_stays_open(tmp_path, monkeypatch, call):
    path = tmp_path / "db"

    def fails(path):
        raise SyncError("the disk is broken")

    database = Database(path, durability="normal")
    collection = database.create("c", 8)
    other = database.create("other", 8)
    for one in (collection, other):
        one.add([[0.5] * 8])
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "sync_log", fails)
        with pytest.raises(SyncError, match="the disk is broken"):
            getattr(database if call == "close" else collection, call)()
    if call != "close":
        with pytest.raises(ReadOnlyError):
            collection.add([[0.5] * 8])
        with pytest.raises(SyncError, match="the disk is broken"):
            database.close()
    assert database.closed
    assert open_files(path) == set()
    with Database(path) as again:
        again.open("c").add([[0.5] * 8])
        assert again.open("other").count() == 1


def test_closing_syncs_what_others_still_write(tmp_path, monkeypatch):
    """The log is synced when the writers that close() waits for are done."""
    events = []
    database = Database(tmp_path / "db", durability="normal")
    collection = database.create("c", 8)
    inside = threading.Event()

    def write():
        with collection._transaction():
            inside.set()
            time.sleep(0.2)

    def commit_and_tell(self):
        last = commit(self)
        events.append("committed")
        return last

    commit = group.Group.commit
    monkeypatch.setattr(group.Group, "commit", commit_and_tell)
    monkeypatch.setattr(catalog, "sync_log", lambda path: events.append("synced"))
    thread = threading.Thread(target=write)
    thread.start()
    inside.wait()
    database.close()
    thread.join()
    assert events == ["committed", "synced"]
