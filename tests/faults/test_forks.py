"""Children of a process that uses a database: forked under load, spawned, and of a fork server."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import process_work
import pytest
from child_process import Child
from fault_sizes import LARGE, size
from group_load import together

from m2m_rag import Database, _indexing
from m2m_rag._forking import ForkSafeLock
from m2m_rag._threads import in_parallel
from m2m_rag.errors import StorageError, WriterLockedError
from m2m_rag.storage import fork_gate, group

N_FORKS = size(60, 1000)
HANGS_S, BUILDS_S = 30, 120
"""When a child is taken to hang: after its calls, and when it builds an index."""
N_BUSY = 4
START_METHODS = [
    method
    for method in ("fork", "spawn", "forkserver")
    if method in multiprocessing.get_all_start_methods()
]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def forked(work, limit_s=HANGS_S):
    """Run `work` in a forked child; return what it said: "ok", an error, or that it hung."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout sets a handler of its own
        signal.alarm(limit_s)
        try:
            said = "ok"
            work()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    status = os.waitpid(pid, 0)[1]
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else said


class Busy:
    """Threads that use a collection until the block ends."""

    def __init__(self, *works) -> None:
        self._is_over = False
        self.errors = []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def _run(self, work):
        try:
            while not self._is_over:
                work()
        except BaseException as error:
            self.errors.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        for thread in self._threads:
            thread.join()
        assert self.errors == []


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c", 2).add([[1, 0], [0, 1]], ids=["x", "y"])
    return tmp_path / "db"


@needs_fork
@pytest.mark.parametrize("where", ["disk", "memory"])
def test_no_fork_hangs_while_threads_are_inside_sqlite(tmp_path, fault_table, where):
    """Without the gate one child in ten to twenty hangs at its first call."""
    made = Database(tmp_path / "db") if where == "disk" else Database.in_memory()
    n, rng = 3000, np.random.default_rng(1)
    with made as database:
        collection = database.create("c", 8)
        collection.add(
            rng.normal(size=(n, 8)),
            ids=map(str, range(n)),
            metadatas=[{"n": i % 7, "text": "x" * 50} for i in range(n)],
        )
        works = [
            lambda: collection.upsert(np.ones((50, 8)), ids=[f"w{i}" for i in range(50)]),
            *[lambda: (collection.get(where={"n": 3}), collection.ids())] * (N_BUSY - 1),
        ]

        def child():
            assert len(collection.search(np.ones(8), 5)) == 5
            assert collection.count() in (n, n + 50)
            assert len(list(collection)) in (n, n + 50)
            if where == "disk":
                with pytest.raises(WriterLockedError):
                    collection.delete(["0"])

        said = {}
        waited_s = 0.0
        with Busy(*works):
            collection.upsert(np.ones((50, 8)), ids=[f"w{i}" for i in range(50)])
            n_forks = N_FORKS if where == "disk" else N_FORKS // 4
            for _ in range(n_forks):
                before = time.perf_counter()
                answer = forked(child)
                waited_s = max(waited_s, time.perf_counter() - before)
                said[answer] = said.get(answer, 0) + 1
                if answer != "ok":
                    break
        print(f"{where}: {said}, longest fork and child {waited_s:.2f} s")
        assert set(said) == {"ok"}
    fault_table.add("F9", f"forks under load, {where}", n_forks, None, hung=0, wrong=0)


@needs_fork
def test_no_fork_hangs_beside_upkeep(tmp_path):
    """Verifying, backing up and compacting use connections of their own."""
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(np.ones((500, 8)), texts=["text"] * 500)

        def back_up():
            database.backup(tmp_path / "backup")
            shutil.rmtree(tmp_path / "backup")

        def child():
            assert collection.count() == 500
            assert database.list() == ["c"]

        with Busy(database.verify, back_up, collection.compact, database.flush):
            for _ in range(N_FORKS):
                assert forked(child) == "ok"


@needs_fork
def test_no_fork_hangs_while_writers_share_commits(tmp_path):
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(np.ones((1, 8)), ids=["first"])

        def child():
            assert collection.get(["first"])
            with pytest.raises(WriterLockedError):
                collection.delete(["first"])

        longest_s = 0.0
        with Busy(*[lambda: collection.add(np.ones((1, 8)))] * 12):
            for _ in range(N_FORKS // 2):
                before = time.perf_counter()
                assert forked(child) == "ok"
                longest_s = max(longest_s, time.perf_counter() - before)
        print(f"longest fork and child {longest_s:.2f} s")
        assert longest_s < fork_gate.WAIT_S


@needs_fork
@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.25])
def test_a_fork_in_another_threads_first_search(path, after_s):
    """The thread imports Numba: a child that found the import half done would wait for ever."""
    code = f"""
import os, signal, threading, time, numpy
from m2m_rag import Database
collection = Database({str(path)!r}, read_only=True).open("c")
thread = threading.Thread(target=collection.search, args=(numpy.ones(2),))
thread.start()
time.sleep({after_s})
pid = os.fork()
if pid == 0:
    signal.alarm({HANGS_S})
    os._exit(0 if len(collection.search(numpy.ones(2))) == 2 else 1)
thread.join()
raise SystemExit(os.waitpid(pid, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_fork
def test_a_fork_waits_for_a_group_whose_members_read(tmp_path, monkeypatch):
    """The next writer was let in by the one before: it may open a snapshot while the fork waits."""
    monkeypatch.setattr(group, "LONGEST_S", 60.0)
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)

        def read_while_a_fork_waits():
            with collection._transaction():
                waits.set()
                while not fork_gate.GATE.is_closing:
                    time.sleep(0.001)
                time.sleep(0.05)
                collection.count()

        waits = threading.Event()
        works = [
            lambda: collection.add(np.ones((1, 8)), ids=["x"]),
            read_while_a_fork_waits,
            lambda: collection.add(np.ones((1, 8)), ids=["y"]),
        ]
        writers = threading.Thread(target=together, args=(collection, works))
        writers.start()
        waits.wait()
        before = time.perf_counter()
        stored = (["x"], ["x", "y"])  # the parent goes on while the child reads
        assert forked(lambda: collection.ids() in stored or os.abort()) == "ok"
        assert time.perf_counter() - before < fork_gate.WAIT_S
        writers.join()
        assert collection.ids() == ["x", "y"]


@needs_fork
def test_a_fork_that_cannot_wait_makes_a_child_that_refuses(path, monkeypatch):
    monkeypatch.setattr(fork_gate, "WAIT_S", 0.2)
    inside, leave = threading.Event(), threading.Event()

    def stay():
        with collection._snapshot():
            inside.set()
            leave.wait()

    def child():
        try:
            with pytest.raises(StorageError, match="forked while a call of another thread"):
                collection.count()
            with pytest.raises(StorageError, match="'spawn'"):
                Database(path)
        finally:
            database.close()

    with Database(path) as database:
        collection = database.open("c")
        records = iter(collection)
        next(records)
        thread = threading.Thread(target=stay)
        thread.start()
        inside.wait()
        try:
            before = time.perf_counter()
            assert forked(child) == "ok"
            assert 0.2 <= time.perf_counter() - before < 5
            assert collection.count() == 2
        finally:
            leave.set()
            thread.join()
        assert forked(lambda: collection.count() == 2 or os.abort()) == "ok"


@needs_fork
def test_an_unfinished_iteration_goes_on_in_parent_and_child(tmp_path):
    """It is read into memory before the fork: the child must not use the parent's connection."""
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 1)
        collection.add(np.ones((1000, 1)), ids=map(str, range(1000)))
        begun, fresh = iter(collection), iter(collection)
        assert [next(begun).id for _ in range(10)] == [str(i) for i in range(10)]

        def child():
            assert [record.id for record in begun] == [str(i) for i in range(10, 1000)]
            assert len(list(fresh)) == 1000
            assert collection.count() == 1000

        before = time.perf_counter()
        assert forked(child) == "ok"
        assert time.perf_counter() - before < fork_gate.WAIT_S
        collection.clear()
        assert [record.id for record in begun] == [str(i) for i in range(10, 1000)]
        assert list(fresh) == []


@needs_fork
def test_a_fork_in_the_middle_of_a_build_leaves_both_with_right_answers(tmp_path, monkeypatch):
    """The child has no thread that builds; it starts one of its own."""
    monkeypatch.setattr(_indexing, "INDEX_FROM", 200)
    vectors = np.random.default_rng(2).normal(size=(600, 8))
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(vectors[:300], ids=map(str, range(300)))

        def check():
            n = collection.count()
            hits = collection.search(vectors[:n:50], 1, lod=2)
            assert [found[0].id for found in hits] == [str(i) for i in range(0, n, 50)]

        def child():
            check()
            assert collection.wait_for_index()
            check()
            assert collection.stats()["index"]["kind"] == "hrm2"

        for step in range(5):
            time.sleep(0.02 * step)
            assert forked(child, BUILDS_S) == "ok"
            first = 300 + 60 * step
            collection.add(vectors[first : first + 60], ids=map(str, range(first, first + 60)))
        assert collection.wait_for_index()
        check()


@needs_fork
def test_the_search_pool_works_in_a_child(monkeypatch):
    monkeypatch.setenv("M2M_THREADS", "3")

    def names():
        return {name.partition("_")[0] for name in in_parallel(lambda _: _name(), range(9))}

    assert names() == {"m2m-search"}
    assert forked(lambda: names() == {"m2m-search"} or os.abort()) == "ok"
    assert names() == {"m2m-search"}


def _name():
    time.sleep(0.001)
    return threading.current_thread().name


@needs_fork
def test_a_fork_waits_for_a_thread_that_compiles():
    from numba.core.compiler_lock import global_compiler_lock

    held = threading.Event()

    def compile_something():
        with global_compiler_lock:
            held.set()
            time.sleep(0.2)

    def child():
        with global_compiler_lock:
            pass

    thread = threading.Thread(target=compile_something)
    thread.start()
    held.wait()
    assert forked(child) == "ok"
    thread.join()
    threads = [threading.Thread(target=child) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS_S)
        assert not thread.is_alive(), "the parent did not give the lock back"


@needs_fork
def test_a_killed_writers_children_do_not_keep_its_lock(path):
    script = """
import os, sys, time
from m2m_rag import Database
database = Database(sys.argv[1])
database.open("c").delete(["nothing"])
if os.fork() == 0:
    time.sleep(60)
    os._exit(0)
print("ready", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"ready\n"
        with Database(path) as database:
            with pytest.raises(WriterLockedError, match=f"process {process.pid} on "):
                database.open("c").delete(["x"])
            process.kill()
            process.wait()
            assert database.open("c").delete(["x"]) == 1
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()


@pytest.mark.fault("F9", "processes of each start method")
@pytest.mark.parametrize("method", START_METHODS)
def test_a_handle_works_in_a_process_started_by(method, tmp_path):
    context = multiprocessing.get_context(method)
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(process_work.vectors(), ids=map(str, range(process_work.N)))
        answers = context.SimpleQueue()
        processes = [
            context.Process(target=process_work.use, args=(collection, answers)) for _ in range(2)
        ]
        for process in processes:
            process.start()
        said = [answers.get() for _ in processes]
        for process in processes:
            process.join(HANGS_S)
            assert process.exitcode == 0
            process.close()
        assert {pid for pid, *_ in said}.isdisjoint({os.getpid()})
        for _, found, count, wrote in said:
            assert found == [str(i) for i in range(process_work.N)]
            assert count == process_work.N
            assert f"being written by process {os.getpid()} on " in wrote
        assert collection.delete(["0"]) == 1


@pytest.mark.fault("F9", "data loaders with workers of each start method")
@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(
    ("method", "n_workers"),
    [
        ("fork", 0),
        *[(method, 1) for method in START_METHODS],
        *[(method, 4) for method in START_METHODS if LARGE or method == "fork"],
    ],
)
def test_a_data_loader_reads_a_collection(method, n_workers, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch.utils.data", reason="torch is not installed")
    vectors = process_work.vectors()
    with Database(tmp_path / "db") as database:
        collection = database.create("c", 8)
        collection.add(vectors, ids=map(str, range(process_work.N)))
        loader = torch.DataLoader(
            process_work.Texts(collection),
            batch_size=16,
            num_workers=n_workers,
            multiprocessing_context=method if n_workers else None,
        )
        for _ in range(2 if method == "fork" else 1):
            assert np.array_equal(np.concatenate([batch.numpy() for batch in loader]), vectors)


@needs_fork
def test_a_forked_child_reads_and_may_not_write(path):
    with Database(path) as database:
        collection = database.open("c")
        collection.add([[2, 2]], ids=["z"])
        collection.search([1, 0])
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                ids = [hit.id for hit in collection.search([1, 0], 3)]
                try:
                    collection.add([[3, 3]])
                    said = "wrote"
                except WriterLockedError:
                    said = "refused"
                os.write(writer, f"{ids} {collection.count()} {said}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as stream:
            assert stream.read() == "['x', 'z', 'y'] 3 refused"
        os.waitpid(pid, 0)
        collection.add([[4, 4]], ids=["after"])
        assert collection.count() == 4


@needs_fork
def test_a_forked_child_follows_others_after_the_parent_closed(path):
    """SQLite's account of file locks must not be inherited, or the child reads a dead log."""
    parent = Database(path)
    parent.open("c").search([1, 0])
    collection = parent.open("c")
    to_parent, from_child = os.pipe()
    to_child, from_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            os.write(from_child, str(collection.count()).encode())
            os.read(to_child, 1)
            collection.add([[3, 3]], ids=["child"])
            os.write(from_child, str(collection.count()).encode())
            os.read(to_child, 1)
        finally:
            os._exit(0)
    assert os.read(to_parent, 9) == b"2"
    parent.close()
    with Child(path) as other:
        assert other.ask("collection.add([[9, 9]], ids=['other'])") == "['other']"
    os.write(from_parent, b"x")
    assert os.read(to_parent, 99) == b"4"
    with Database(path, read_only=True) as reader:
        assert set(reader.open("c").ids()) == {"x", "y", "other", "child"}
    os.write(from_parent, b"x")
    os.waitpid(pid, 0)
    for descriptor in (to_parent, from_child, to_child, from_parent):
        os.close(descriptor)


@needs_fork
def test_a_lock_that_another_thread_held_is_free_in_a_forked_child():
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    pid = os.fork()
    if pid == 0:
        signal.alarm(5)
        with lock:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()
