"""Writers that share a commit: each gets what it would alone, also when something fails."""

from __future__ import annotations

import errno
import gc
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import group_load
import numpy as np
import pytest
from failing_calls import FROM_THEN_ON, HALF, ONCE, OTHERS, SYNCS, WRITES, compile_library
from fault_load import DIMENSION, MAIN, columns, read
from fault_sizes import LARGE, size
from group_load import in_threads, together, wait_for_queue
from zygote import Zygote

from m2m_rag import Database
from m2m_rag.errors import ClosedError, DuplicateIdError, StorageError
from m2m_rag.storage import group
from m2m_rag.storage.vectors import DiskVectors

SEED = 77
N_THREADS, N_STEPS = 16, 200 if LARGE else 25
N_FAILING = 6
N_INTERRUPTED = size(1000, 10_000)


@pytest.fixture
def commits(monkeypatch):
    """How many writes each commit had in it, as they happen."""
    counts, commit = [], group.Group.commit

    def counted(self):
        counts.append(len(self.members))
        return commit(self)

    monkeypatch.setattr(group.Group, "commit", counted)
    monkeypatch.setattr(group, "LONGEST_S", 60.0)
    return counts


@pytest.fixture
def small_files():
    defaults = DiskVectors.__init__.__defaults__
    group_load.make_files_small()
    yield
    DiskVectors.__init__.__defaults__ = defaults


def add(collection, id_, number=0.0):
    return lambda: collection.add([[number] * 8], ids=[id_])


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("durability", ["full", "normal", "off"])
def test_each_thread_finds_what_it_wrote(tmp_path, commits, durability):
    """Also a step that raises after it has written, in a new file of vectors perhaps."""
    with Database(tmp_path / "db", durability=durability) as database:
        collection = database.create(MAIN, DIMENSION)

        def work(thread):
            expected = group_load.states(SEED, thread, N_STEPS)
            n_done = iter(range(1, N_STEPS + 1))

            def check(_):
                mine = expected[next(n_done)]
                found = collection.get(list(mine), include_vectors=True)
                assert {r.id: tuple(r.vector.tolist()) for r in found} == {
                    id_: stored.vector for id_, stored in mine.items()
                }

            return group_load.write(collection, SEED, thread, N_STEPS, check)

        results = in_threads([lambda t=t: work(t) for t in range(N_THREADS)])
        expected = {id_: stored for mine in results for id_, stored in mine.items()}
        assert read(database)[MAIN] == expected
        assert collection.verify().is_sound
    with Database(tmp_path / "db") as database:
        assert read(database)[MAIN] == expected
    assert sum(commits) <= N_THREADS * N_STEPS
    assert (len(commits) < 0.7 * sum(commits)) == (durability != "off")


def test_every_write_keeps_a_commit_number_of_its_own(tmp_path, commits):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(np.eye(8)[:3], ids=["x", "y", "z"])
        with collection._snapshot() as snapshot:
            before = snapshot.state.commit_no
        commits.clear()
        together(
            collection,
            [add(collection, "a"), lambda: collection.delete(["y"]), add(collection, "b")],
        )
        assert commits == [3]
        with collection._snapshot() as snapshot:
            assert snapshot.state.commit_no == before + 3
            assert list(snapshot.tombstones_since(before)) == [(1, before + 2)]
            assert list(snapshot.tombstones_since(before + 2)) == []


def test_a_write_that_raises_is_undone_alone(tmp_path, commits, small_files):
    """First, in the middle, last; having begun a file of vectors that the next one begins anew."""
    del small_files
    with Database(tmp_path / "db") as database:
        collection = database.create(MAIN, DIMENSION)
        rng = random.Random(SEED)
        new = {f"{n}": group_load.record(rng, str(n)) for n in range(60)}

        def part(first, stop):
            return dict(list(new.items())[first:stop])

        collection.add(**columns(part(0, 28)))
        commits.clear()
        results = together(
            collection,
            [
                add(collection, "1"),  # there already
                lambda: collection.add(**columns(part(28, 29))),
                lambda: group_load.fail_after_writing(collection, part(40, 60)),
                lambda: collection.add(**columns(part(29, 40))),
                lambda: collection.delete(where={"$and": [{"n": {"$gte": 0}}, {"n": 77}]}),
                lambda: collection.update(["1", "nobody"], [{}, {}]),
                lambda: collection.add(**columns(part(40, 60))),
                add(collection, "1"),
            ],
        )
        raised = [type(result).__name__ for result in results if isinstance(result, Exception)]
        assert raised == ["DuplicateIdError", "RecordNotFoundError", "DuplicateIdError"]
        assert commits == [4]
        assert read(database) == {MAIN: new}
        assert collection.verify().is_sound
    with Database(tmp_path / "db") as database:
        assert read(database) == {MAIN: new}


def test_filters_forget_a_group_that_failed(tmp_path, commits, monkeypatch):
    """A member's filter has read what another wrote; when the group fails, both never were."""
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(np.eye(8)[:2], ids=["x", "y"], metadatas=[{"n": 1}, {"n": 2}])

        def fails(self):
            raise StorageError("the disk is full")

        real = group.Group.commit
        monkeypatch.setattr(
            group.Group, "commit", lambda self: (fails if len(self.members) > 1 else real)(self)
        )
        results = together(
            collection,
            [
                lambda: collection.update(["x"], [{"n": 5}]),
                lambda: collection.delete(where={"n": 5}),
            ],
        )
        assert [str(result) for result in results] == ["the disk is full"] * 2
        assert results[0] is not results[1]
        collection.update(["y"], [{"n": 5}])
        assert collection.ids(where={"n": 5}) == ["y"]
        assert collection.delete(where={"n": 1}) == 1


def test_a_file_begun_by_a_group_that_failed_is_forgotten(tmp_path, commits, monkeypatch):
    """The second member has read the file; a flush removes it, and the next add begins another."""
    del commits

    def fails(self):
        raise StorageError("the disk is full")

    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        with monkeypatch.context() as patch:
            patch.setattr(group.Group, "commit", fails)
            results = together(collection, [add(collection, "a"), add(collection, "b")])
        assert [str(result) for result in results] == ["the disk is full"] * 2
        collection.flush()
        for number, id_ in enumerate("xyz"):
            add(collection, id_, number + 1.0)()
        assert [r.vector[0] for r in collection.get(include_vectors=True)] == [1.0, 2.0, 3.0]


def test_a_writer_that_is_alone_commits_alone(tmp_path, commits):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        for number in range(5):
            add(collection, str(number))()
        assert commits == [1] * 5
        commits.clear()
        together(
            collection,
            [
                add(collection, "a"),
                add(collection, "b"),
                lambda: collection.compact(erase=True),
                lambda: collection.delete(["a"]),
            ],
        )
        assert commits == [2, 1, 1]
        assert collection.verify().is_sound


def test_a_group_ends_in_time(tmp_path, commits, monkeypatch):
    monkeypatch.setattr(group, "LONGEST_S", 0.0)
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        commits.clear()
        together(collection, [add(collection, str(number)) for number in range(4)])
        assert commits == [1] * 4


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    library = compile_library(tmp_path_factory.mktemp("library"))
    with Zygote({"LD_PRELOAD": str(library)}) as zygote:
        yield zygote


@pytest.mark.parametrize(
    ("fault", "calls", "error", "how"),
    [
        ("a sync", SYNCS, errno.EIO, ONCE),
        ("a write", WRITES, errno.EIO, ONCE),
        ("half a write", WRITES, errno.ENOSPC, HALF),
        ("all from then on", WRITES | SYNCS | OTHERS, errno.EIO, FROM_THEN_ON),
    ],
)
def test_the_kth_call_of_a_group_fails(failing, tmp_path, fault_table, fault, calls, error, how):
    """Who gets an error has stored nothing, who gets none has, and the next write is as ever."""
    base = tmp_path / "base"
    with Database(base) as database:
        database.create(MAIN, DIMENSION).add(np.ones((3, DIMENSION)), ids=list("abc"))

    def attempt(k):
        path = tmp_path / "db"
        shutil.copytree(base, path)
        said = failing.run("group_load:attempt", str(path), N_FAILING, calls, k, error, how)
        shutil.rmtree(path)
        return [int(line.split()[1]) for line in said[-2:]]

    n_failed, n_calls = attempt(1_000_000)
    assert n_failed == 0
    ks = range(1, min(n_calls, size(30, 1000)) + 1)
    failed = [attempt(k)[0] for k in ks]
    fault_table.add(
        "F4", f"{fault} of a group of {N_FAILING} fails, k of {n_calls}", len(ks), None,
        lost=0, wrong=0, raised=sum(failed),
    )  # fmt: skip
    assert max(failed) >= N_FAILING, "the whole group never failed"


def test_closing_while_writers_wait(tmp_path, commits):
    """Those that wait are done or refused, and what was done is there."""
    database = Database(tmp_path / "db")
    collection = database.create("c", 8)
    done = []

    def work(number):
        for step in range(1000):
            done.append(add(collection, f"{number}-{step}")()[0])

    closer = threading.Timer(0.3, database.close)
    closer.start()
    results = in_threads([lambda n=n: work(n) for n in range(8)])
    closer.join()
    assert {type(result) for result in results} == {ClosedError}
    with Database(tmp_path / "db") as again:
        assert set(again.open("c").ids()) == set(done)
    assert len(commits) < sum(commits)


class Interrupted:
    """The main thread writes and is interrupted; another thread's write is in the same queue."""

    def __init__(self, collection):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
        self.collection = collection
        self.inside, self.leave = threading.Event(), threading.Event()

    def stay(self):
        with self.collection._transaction():
            self.inside.set()
            self.leave.wait(30)

    def interrupt(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)


def test_an_interrupt_of_a_writer_that_waits_for_its_turn(tmp_path):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        state = Interrupted(collection)

        def other():
            wait_for_queue(collection, 1)
            state.interrupt()
            state.leave.set()

        threads = [threading.Thread(target=work) for work in (state.stay, other)]
        threads[0].start()
        state.inside.wait()
        threads[1].start()
        with pytest.raises(KeyboardInterrupt):
            add(collection, "main")()
        for thread in threads:
            thread.join()
        assert collection.ids() == []
        add(collection, "next")()
        assert collection.ids() == ["next"]


def test_an_interrupt_of_a_writer_that_waits_for_its_group(tmp_path, commits):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        state = Interrupted(collection)

        def other():
            with collection._transaction():
                state.interrupt()
                state.interrupt()

        thread = threading.Thread(target=other)

        def main():
            with collection._transaction() as transaction:
                thread.start()
                wait_for_queue(collection, 1)
                transaction.set_embedder("stored")

        with pytest.raises(KeyboardInterrupt):
            main()
        thread.join()
        assert commits[-1] == 2
        assert collection.embedder == "stored"


@pytest.mark.parametrize("is_late", [False, True])
def test_an_interrupt_in_the_middle_of_the_commit(tmp_path, monkeypatch, is_late):
    """Before COMMIT all is undone and the others are told; after it all is stored."""
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        inside = threading.Event()

        def first():
            with collection._transaction():
                inside.set()
                wait_for_queue(collection, 2)

        def second():
            inside.wait()
            add(collection, "other")()

        def interrupted(*_):
            raise KeyboardInterrupt

        results = []
        others = threading.Thread(target=lambda: results.extend(in_threads([first, second])))
        others.start()
        wait_for_queue(collection, 1)
        if is_late:
            writers = collection._parts.store.catalog.writers
            monkeypatch.setattr(writers, "_note", interrupted)
        else:
            monkeypatch.setattr(DiskVectors, "sync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            add(collection, "main")()
        others.join()
        monkeypatch.undo()
        if is_late:
            assert results == [None, None]
            assert collection.ids() == ["other", "main"]
        else:
            assert {type(result) for result in results} == {StorageError}
            assert "was interrupted (KeyboardInterrupt). Try again." in str(results[1])
            assert collection.ids() == []
        add(collection, "next")()
        assert collection.ids()[-1] == "next"


@pytest.fixture
def lose_turn(monkeypatch):
    """Return what makes the writer that has the turn lose it: two interrupts in passing it on."""

    def lose(collection):
        writers = collection._parts.store.catalog.writers

        def first(*_):
            raise KeyboardInterrupt

        def second(*_):
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(writers, "_go_on", first)
        monkeypatch.setattr(writers, "_undo_body", second)

    return lose


def test_a_lost_turn_is_taken_by_one_in_the_queue(tmp_path, lose_turn):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        results = []
        other = threading.Thread(
            target=lambda: results.extend(in_threads([add(collection, "other")]))
        )

        def losing():
            with collection._transaction() as transaction:
                transaction.set_embedder("undone")
                other.start()
                wait_for_queue(collection, 1)
                lose_turn(collection)

        with pytest.raises(KeyboardInterrupt):
            losing()
        other.join(10)
        assert results == [["other"]]
        assert (collection.ids(), collection.embedder) == (["other"], None)


def test_a_lost_turn_is_taken_by_one_that_waits_for_its_group(tmp_path, lose_turn):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)

        def last():
            with pytest.raises(KeyboardInterrupt), collection._transaction():
                lose_turn(collection)

        losing = threading.Thread(target=last)

        def first():
            with collection._transaction() as transaction:
                losing.start()
                wait_for_queue(collection, 1)
                transaction.set_embedder("undone")

        results = []
        writing = threading.Thread(target=lambda: results.extend(in_threads([first])))
        writing.start()
        writing.join(10)
        assert [type(result) for result in results] == [StorageError]
        assert collection.embedder is None
        add(collection, "next")()
        assert collection.ids() == ["next"]


def test_duplicates_within_a_group_are_seen(tmp_path, commits):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        results = together(collection, [add(collection, "same") for _ in range(5)])
        assert results[0] == ["same"]
        assert {type(result) for result in results[1:]} == {DuplicateIdError}
        assert collection.count() == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_interrupts_at_any_moment_hang_nothing(tmp_path, fault_table):
    code = f"import interrupts; interrupts.run({str(tmp_path / 'db')!r}, {SEED}, {N_INTERRUPTED})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(group_load.__file__).parent, timeout=300,
        env={**os.environ, "M2M_BACKEND": "numpy"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    n_interrupts = int(done.stdout)
    assert n_interrupts > N_INTERRUPTED // 10
    fault_table.add("F4", "interrupts of a writer", n_interrupts, SEED, hung=0, lost=0)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="POSIX timers")
def test_interrupted_readers_leave_nothing_in_use(tmp_path, fault_table):
    code = f"import interrupts; interrupts.read({str(tmp_path / 'db')!r}, {SEED}, {N_INTERRUPTED})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(group_load.__file__).parent, timeout=300,
        env={**os.environ, "M2M_BACKEND": "numpy"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    fault_table.add("F4", "interrupts of a reader", int(done.stdout), SEED, hung=0, left_in_use=0)


def test_a_group_that_cannot_be_undone_does_not_keep_its_transaction(tmp_path, monkeypatch):
    def fails(self):
        raise StorageError("the disk is full")

    def fails_worse(self):
        raise OSError(errno.EIO, "input/output error")

    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        gc.disable()
        try:
            with monkeypatch.context() as patch:
                patch.setattr(group.Group, "commit", fails)
                patch.setattr(group.Group, "undo", fails_worse)
                with pytest.raises((StorageError, OSError)):
                    add(collection, "a")()
            began = time.perf_counter()
            add(collection, "b")()
            assert time.perf_counter() - began < 5
        finally:
            gc.enable()
        assert collection.ids() == ["b"]
