"""Several processes, threads and forks on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag._forking import ForkSafeLock
from m2m_rag.errors import WriterLockedError


class Child:
    """A Python process that runs one command line at a time, as it is told."""

    def __init__(self, path) -> None:
        loop = """
            import sys
            from m2m_rag import Database
            database = Database(sys.argv[1])
            collection = database.open("c")
            for line in sys.stdin:
                try:
                    print(repr(eval(line)), flush=True)
                except Exception as error:
                    print(f"{type(error).__name__}: {error}", flush=True)
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(loop), str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, expression: str) -> str:
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()


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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
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


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_eight_writers_and_eight_readers(tmp_path, where):
    made = Database.in_memory() if where == "memory" else Database(tmp_path / "threads")
    errors: list[BaseException] = []
    with made as database:
        collection = database.create("c", 4)
        collection.add(np.ones((1, 4)), ids=["first"])

        def write(thread):
            rng = np.random.default_rng(thread)
            for step in range(10):
                ids = [f"{thread}-{step}-{i}" for i in range(5)]
                collection.add(rng.normal(size=(5, 4)), ids=ids)
                if step % 3 == 2:
                    collection.delete(ids[:1])

        def read(thread):
            rng = np.random.default_rng(100 + thread)
            for _ in range(15):
                hits = collection.search(rng.normal(size=4), 1000)
                assert len({hit.id for hit in hits}) == len(hits)
                counts = {}
                for hit in hits:
                    counts.setdefault(hit.id.rpartition("-")[0], []).append(hit.id)
                assert all(len(ids) in (1, 4, 5) for ids in counts.values()), "half a commit"

        def guarded(function, thread):
            try:
                function(thread)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=guarded, args=(function, number))
            for number in range(8)
            for function in (write, read)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert collection.count() == len(collection.ids()) == 1 + 8 * (10 * 5 - 3)
        for thread in range(8):
            assert collection.get([f"{thread}-9-4"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
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
