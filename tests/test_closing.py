"""After `close()` this process has no file of the database open or mapped, whatever else it keeps.

So a folder may be renamed or deleted at once, as Windows demands.
"""

from __future__ import annotations

import shutil
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from open_files import open_files

from m2m_rag import Database, _database_upkeep, _indexing, _upkeep
from m2m_rag._iterating import Iterations
from m2m_rag._parts import Parts
from m2m_rag._underway import Underway
from m2m_rag.errors import ClosedError
from m2m_rag.storage import lock
from m2m_rag.storage.lock import WriterLock
from m2m_rag.storage.registry import Registry


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c", 4).add(np.eye(4), ids=list("abcd"), texts=list("abcd"))
    return tmp_path / "db"


def vectors(n, d=16):
    return np.random.default_rng(3).normal(size=(n, d)).astype(np.float32)


def test_what_is_open_is_seen(path):
    with Database(path) as database:
        collection = database.open("c")
        collection.search([1, 0, 0, 0])
        collection.delete(["nothing"])
        names = open_files(path)
        assert {"database.sqlite", "LOCK"} < names
        assert {name.rpartition("/")[2] for name in names} >= {"catalog.sqlite", "1-0.f32 (mapped)"}
    assert open_files(path) == set()


def test_results_are_copies(path):
    database = Database(path)
    collection = database.open("c")
    hits = collection.search([1, 0, 0, 0], 4, include_vectors=True)
    records = collection.get(include_vectors=True)
    known = collection.vectors_of_texts(["a"])
    explained = collection.explain([1, 0, 0, 0])
    mmr = collection.search_mmr([1, 0, 0, 0], 2, include_vectors=True)
    database.close()
    assert open_files(path) == set()
    shutil.move(path, path.with_name("moved"))
    shutil.rmtree(path.with_name("moved"))
    assert np.array_equal(hits[0].vector, [1, 0, 0, 0])
    assert np.array_equal([record.vector for record in records], np.eye(4))
    assert np.array_equal(known["a"], [1, 0, 0, 0])
    assert mmr[0].vector[0] == 1
    assert explained.rows[0] == 0


def test_a_snapshot_of_the_index_is_not_kept_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr(_indexing, "INDEX_FROM", 200)
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 16)
        collection.add(vectors(300))
        assert collection.wait_for_index()
        assert collection.stats()["index"]["kind"] == "hrm2"
    database = Database(tmp_path / "db")
    collection = database.open("c")
    hits = collection.search(vectors(3), 5)
    assert any(name.endswith(".hrm2 (mapped)") for name in open_files(tmp_path / "db"))
    database.close()
    assert open_files(tmp_path / "db") == set()
    assert len(hits) == 3


def test_a_build_under_way_is_ended(tmp_path):
    database = Database(tmp_path / "db")
    collection = database.create("c", 16)
    collection.add(vectors(20_000))
    database.close()
    assert open_files(tmp_path / "db") == set()
    assert collection._parts.indexer.wait(0)


def test_unfinished_iterations_end(path):
    database = Database(path)
    collection = database.open("c")
    records, others = iter(collection), iter(collection)
    stages = collection.search_progressive([1, 0, 0, 0])
    assert [next(records).id, next(records).id] == ["a", "b"]
    assert next(stages).lod == 0
    database.close()
    assert open_files(path) == set()
    for unfinished in (records, others, stages):
        for _ in range(2):
            with pytest.raises(ClosedError, match="was closed"):
                next(unfinished)
        unfinished.close()


def test_a_dropped_collections_iterations_end(path):
    with Database(path) as database:
        collection = database.open("c")
        records = iter(collection)
        next(records)
        database.drop("c")
        assert not any(name.startswith("collections") for name in open_files(path))
        with pytest.raises(ClosedError, match="dropped"):
            next(records)


def test_an_iteration_closed_early_is_at_its_end(database):
    collection = database.create("c", 1)
    collection.add([[1], [2], [3]])
    with iter(collection) as records:
        next(records)
    assert list(records) == []
    records.close()


@pytest.mark.parametrize("trial", range(5))
def test_closing_waits_for_calls_of_other_threads(path, trial):
    """They give the right answer or say that the database was closed."""
    database = Database(path)
    collection = database.open("c")
    answers, errors = [], []
    started = threading.Barrier(9)

    def work(thread):
        started.wait()
        for _ in range(10_000):
            try:
                if thread % 4 == 0:
                    answers.append(collection.upsert([[0, 0, 0, 1]], ids=["d"]).updated == 1)
                elif thread % 4 == 1:
                    answers.append([record.id for record in collection][:3] == list("abc"))
                else:
                    hits = collection.search([1, 0, 0, 0], 1, include_vectors=True)
                    answers.append(hits[0].id == "a" and hits[0].vector[0] == 1)
            except ClosedError:
                return
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    while len(answers) < 10 * (trial + 1) and not errors:
        threading.Event().wait(0.001)
    database.close()
    assert open_files(path) == set()
    assert path.resolve() not in lock._held
    for thread in threads:
        thread.join()
    assert errors == []
    assert all(answers)
    with Database(path) as again:
        assert sorted(again.open("c").ids()) == list("abcd")


def test_a_database_in_memory_closes_while_others_search():
    database = Database.in_memory()
    collection = database.create("c", 2)
    collection.add([[1, 0]], ids=["x"])
    wrong = []

    def work():
        try:
            while True:
                if collection.search([1, 0])[0].id != "x":
                    wrong.append("answer")
        except ClosedError:
            pass
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.05)
    database.close()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_iteration_whose_thread_a_fork_left_behind_can_be_closed():
    """The child finds the lock free and the generator running."""
    inside, leave = threading.Event(), threading.Event()

    def items():
        inside.set()
        leave.wait(30)
        yield 1

    def read():
        with suppress(RuntimeError):  # the lock that it holds is not the present one
            next(iteration)

    iterations = Iterations()
    iteration = iterations.start(items(), lambda: None, holds_connection=False)
    thread = threading.Thread(target=read)
    thread.start()
    inside.wait(30)
    iteration._lock._renew()
    iteration.close()
    iterations.end()
    leave.set()
    thread.join()


def interrupted(call, where):
    """Return the call with an interrupt before or after it, the first time."""
    is_due = [True]

    def interrupting(*arguments):
        is_due_now = is_due and is_due.pop()
        if is_due_now and where == "before":
            raise KeyboardInterrupt
        call(*arguments)
        if is_due_now:
            raise KeyboardInterrupt

    return interrupting


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_close_that_is_interrupted_while_it_waits_leaves_it_open(path, monkeypatch, where):
    database = Database(path)
    collection = database.open("c")
    monkeypatch.setattr(Underway, "end", interrupted(Underway.end, where))
    with pytest.raises(KeyboardInterrupt):
        database.close()
    assert not database.closed
    collection.add([[1, 1, 1, 1]])
    for call in (collection.verify, database.verify, database.flush, collection.compact):
        call()
    database.close()
    assert open_files(path) == set()


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("step", [(Parts, "close"), (Registry, "close"), (WriterLock, "release")])
def test_a_close_that_is_interrupted_later_is_completed(path, monkeypatch, step, where):
    database = Database(path)
    collection = database.open("c")
    collection.add([[1, 1, 1, 1]])
    monkeypatch.setattr(*step, interrupted(getattr(*step), where))
    with pytest.raises(KeyboardInterrupt):
        database.close()
    assert database.closed
    for call in (collection.count, collection.verify, database.list, database.flush):
        with pytest.raises(ClosedError):
            call()
    database.close()
    assert open_files(path) == set()
    assert path.resolve() not in lock._held


@pytest.mark.parametrize("call", ["verify", "backup", "compact", "flush"])
def test_closing_waits_for_upkeep(path, monkeypatch, call):
    is_inside, is_done = threading.Event(), []
    beneath = {
        "verify": (_database_upkeep, "verify_database"),
        "backup": (_database_upkeep.backing_up, "back_up"),
        "compact": (_upkeep.compacting, "shrink"),
        "flush": (_upkeep.compacting, "checkpoint"),
    }
    module, name = beneath[call]
    real = getattr(module, name)

    def slow(*arguments, **named):
        is_inside.set()
        time.sleep(0.2)
        found = real(*arguments, **named)
        is_done.append(call)
        return found

    monkeypatch.setattr(module, name, slow)
    database = Database(path)
    arguments = [path.with_name("backup")] if call == "backup" else []
    thread = threading.Thread(target=getattr(database, call), args=arguments)
    thread.start()
    is_inside.wait()
    database.close()
    assert is_done
    assert open_files(path) == set()
    thread.join()
    with pytest.raises(ClosedError):
        getattr(database, call)(*arguments)


def test_an_index_thread_that_does_not_start_keeps_nothing_open(path, monkeypatch):
    def refuses(self):
        raise RuntimeError("can't start new thread")

    database = Database(path)
    collection = database.open("c")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuses)
        collection.add(vectors(_indexing.INDEX_FROM, 4))
        assert len(collection.search([1, 0, 0, 0], 3)) == 3
    assert collection.count() == _indexing.INDEX_FROM + 4
    database.close()
    assert open_files(path) == set()


def test_closing_ends_though_upkeep_goes_on_and_on(path):
    database = Database(path)
    refused = []

    def verify_on_and_on():
        try:
            while True:
                database.verify()
        except ClosedError:
            refused.append(True)

    threads = [threading.Thread(target=verify_on_and_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    database.close()
    for thread in threads:
        thread.join(10)
    assert refused == [True] * 3
    assert open_files(path) == set()


def test_a_call_that_was_interrupted_between_its_steps_is_not_waited_for():
    underway = Underway()
    begun = underway.begin()
    other = threading.Thread(target=underway.end, daemon=True)
    other.start()
    other.join(0.1)
    assert other.is_alive()
    del begun  # nothing told that it is over
    other.join(10)
    assert not other.is_alive()
    with pytest.raises(ClosedError):
        underway.begin()
