"""Databases: creating, opening, listing and dropping collections; what a folder may be."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from m2m_rag import Collection, Database, _indexing
from m2m_rag.errors import (
    ClosedError,
    CollectionExistsError,
    CollectionNotFoundError,
    FormatError,
    InvalidInputError,
    ReadOnlyError,
    StorageError,
)


def test_create_open_list_drop(database):
    database.create("b")
    database.create("a", 3, "l2").add([[1, 2, 3]])
    assert database.list() == ["a", "b"]
    assert database.open("a").metric == "l2"
    assert database.open("a").dimension == 3
    database.drop("a")
    assert database.list() == ["b"]
    assert database.create("a").count() == 0


def test_names_are_checked(database):
    bad = [
        "",
        ".",
        "..",
        "../../evil",
        "/etc",
        "a/b",
        "a\\b",
        "a b",
        "é",
        "-a",
        "a" * 129,
        "a\n",
        None,
    ]
    for name in [*bad, "NUL\x00", 5]:
        with pytest.raises(InvalidInputError, match="not a collection's name"):
            database.create(name)
    for name in ("a", "9", "A.b_c-d", "a" * 128, "con"):
        database.create(name)


def test_create_twice(database):
    database.create("a", 4)
    with pytest.raises(CollectionExistsError, match="exist_ok"):
        database.create("a", 4)
    assert database.create("a", exist_ok=True).dimension == 4
    assert database.create("a", 4, exist_ok=True).dimension == 4
    for dimension, metric in ((5, "cosine"), (4, "dot")):
        with pytest.raises(CollectionExistsError, match="asked for"):
            database.create("a", dimension, metric, exist_ok=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "cosin"}, "Did you mean 'cosine'"),
        ({"dimension": 0}, "at least 1"),
        ({"dimension": 3.5}, "whole number"),
        ({"dimension": True}, "whole number"),
    ],
)
def test_create_refuses(database, arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        database.create("a", **arguments)
    assert database.list() == []


def test_unknown_names_are_answered_with_the_near_one(database):
    database.create("notes")
    for act in (database.open, database.drop):
        with pytest.raises(CollectionNotFoundError, match="Did you mean 'notes'"):
            act("note")


def test_handles_of_a_dropped_collection_raise(database):
    collection = database.create("a")
    collection.add([[1.0]])
    database.drop("a")
    fresh = database.create("a")
    for act in (
        collection.count,
        lambda: collection.add([[1.0]]),
        lambda: collection.search([1.0]),
    ):
        with pytest.raises((CollectionNotFoundError, StorageError)):
            act()
    assert fresh.count() == 0


def test_a_closed_database_says_so(database):
    collection = database.create("a")
    database.close()
    database.close()
    assert database.closed
    for act in (database.list, lambda: database.create("b"), collection.count):
        with pytest.raises(ClosedError, match="Open it again"):
            act()


def test_in_memory_databases_share_nothing():
    with Database.in_memory() as one, Database.in_memory() as two:
        one.create("a").add([[1.0]])
        assert two.list() == []
        assert one.path is None
        assert one.open("a").count() == 1


def test_everything_is_there_after_reopening(tmp_path):
    with Database(tmp_path / "a folder" / "ünï") as database:
        database.create("c", metric="dot").add([[1, 2]], ids=["x"], texts=["t"])
    with Database(str(tmp_path / "a folder" / "ünï")) as database:
        (hit,) = database.open("c").search([3, 4])
        assert (hit.id, hit.score, hit.text) == ("x", 11.0, "t")


def test_two_handles_of_one_process_see_each_other(tmp_path):
    with Database(tmp_path) as one, Database(tmp_path) as two:
        a, b = one.create("c"), two.open("c")
        for step in range(5):
            a.add([[step, 1.0]], ids=[f"a{step}"])
            b.add([[step, 2.0]], ids=[f"b{step}"])
            assert a.ids() == b.ids()
            assert len(a.search([1.0, 1.0], 100)) == len(b.search([1.0, 1.0], 100)) == 2 * step + 2
        one.close()
        b.delete(["a0"])
        assert b.count() == 9


def test_read_only_refuses_writes(tmp_path):
    with pytest.raises(FormatError, match="is not a database"):
        Database(tmp_path / "none", read_only=True)
    assert not (tmp_path / "none").exists()
    with Database(tmp_path / "db") as database:
        database.create("c").add([[1.0]])
        with Database(tmp_path / "db", read_only=True) as reader:
            collection = reader.open("c")
            assert collection.count() == 1
            for act in (
                lambda: collection.add([[2.0]]),
                lambda: collection.delete(where={}),
                lambda: reader.create("d"),
                lambda: reader.drop("c"),
            ):
                with pytest.raises(ReadOnlyError, match="read_only"):
                    act()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FormatError, match="'thesis.txt'"):
        Database(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(StorageError):
        Database(tmp_path / "thesis.txt")


@pytest.mark.parametrize("path", ["", None, 5, b""])
def test_a_path_is_needed(path):
    with pytest.raises(InvalidInputError, match="path"):
        Database(path)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_only_the_owner_may_read(tmp_path, monkeypatch):
    """Whatever the umask allows: a database with an index, a backup, a database restored."""
    monkeypatch.setattr(_indexing, "INDEX_FROM", 50)
    old = os.umask(0)
    try:
        with Database(tmp_path / "above" / "db") as database:
            collection = database.create("c", 4)
            collection.add(np.random.default_rng(1).normal(size=(60, 4)), texts=["text"] * 60)
            assert collection.wait_for_index()
            database.flush()
            database.create("empty")
            database.backup(tmp_path / "far" / "away" / "backup")
            with Database.restore(tmp_path / "far" / "away" / "backup", tmp_path / "again") as made:
                made.open("c").delete(["nothing"])
                modes = {
                    item.relative_to(tmp_path): stat.S_IMODE(item.stat().st_mode)
                    for item in tmp_path.rglob("*")
                }
    finally:
        os.umask(old)
    assert sum(path.suffix == ".hrm2" for path in modes) == 3
    assert {
        path: oct(mode)
        for path, mode in modes.items()
        if mode != (0o700 if (tmp_path / path).is_dir() else 0o600)
    } == {}


def in_threads(*functions):
    """Run the functions at the same moment and return what each returned or raised."""
    outcomes = [None] * len(functions)
    start = threading.Barrier(len(functions))

    def run(number):
        start.wait()
        try:
            outcomes[number] = functions[number]()
        except BaseException as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.parametrize("suffix", [".new", ".new-wal", ".new-shm", ".new-journal"])
def test_an_interrupted_creation_is_taken_up_again(tmp_path, suffix):
    (tmp_path / f"database.sqlite{suffix}").write_bytes(b"half")
    with Database(tmp_path) as database:
        assert database.list() == []
    assert not (tmp_path / f"database.sqlite{suffix}").exists()


def test_threads_may_create_one_database(tmp_path):
    for trial in range(5):
        path = tmp_path / str(trial)
        made = in_threads(*[lambda path=path: Database(path)] * 4)
        made[0].create("c")
        assert [database.list() for database in made] == [["c"]] * 4
        for database in made:
            database.close()


def test_two_handles_may_create_one_collection(tmp_path):
    with Database(tmp_path / "db") as one, Database(tmp_path / "db") as two:
        for _ in range(5):
            made = in_threads(lambda: one.create("c"), lambda: two.create("c"))
            refused = [outcome for outcome in made if isinstance(outcome, Exception)]
            assert [type(error) for error in refused] == [CollectionExistsError]
            assert len(list((tmp_path / "db" / "collections").iterdir())) == 1
            made = in_threads(*[lambda db=db: db.create("d", exist_ok=True) for db in (one, two)])
            assert [handle.name for handle in made] == ["d", "d"]
            one.drop("c")
            two.drop("d")


def test_a_drop_leaves_a_newer_collection_of_that_name_alone(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c")
        old = database._parts_of("c").store.folder.name
        database.drop("c")
        database.create("c")
        database._registry.remove("c", old)
        assert database.list() == ["c"]


def test_a_drop_that_fails_changes_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise StorageError("the disk is full")

    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add([[1.0]])
        with monkeypatch.context() as patch:
            patch.setattr(database._registry, "remove", fail)
            with pytest.raises(StorageError):
                database.drop("c")
        assert database.list() == ["c"]
        assert collection.count() == 1
        database.drop("c")


def test_a_drop_while_others_search(tmp_path):
    with Database(tmp_path / "db") as one, Database(tmp_path / "db") as two:
        for _ in range(5):
            collection = one.create("c", 4)
            collection.add(np.ones((50, 4)))
            second = two.open("c")

            def use(handle):
                while True:
                    handle.search(np.ones(4), 3, include_vectors=True)
                    handle.add(np.ones((2, 4)))

            outcomes = in_threads(
                lambda: one.drop("c"),
                *[lambda handle=handle: use(handle) for handle in [collection, second] * 2],
            )
            assert [type(error) for error in outcomes[1:]] == [CollectionNotFoundError] * 4
        two.create("d")
        assert len(two._parts) == 1, "what others dropped was closed"


@pytest.mark.parametrize("call", ["compact", "flush", "repair"])
def test_upkeep_leaves_out_what_is_dropped_meanwhile(database, monkeypatch, call):
    """One is dropped before its turn, another in the middle of it."""
    for name in ("a", "b", "c", "d"):
        collection = database.create(name, 2)
        collection.add([[1, 0], [0, 1]], ids=["x", "y"])
        collection.delete(["x"])
    check = Collection._check_open

    def dropped_first(self):
        monkeypatch.setattr(Collection, "_check_open", check)
        for name in ("b", self.name):
            database.drop(name)
        check(self)

    monkeypatch.setattr(Collection, "_check_open", dropped_first)
    found = getattr(database, call)()
    assert database.list() == ["c", "d"]
    if call == "compact":
        assert {name: report.n_removed for name, report in found.items()} == {"c": 1, "d": 1}
        assert list(database.compact(erase=True)) == ["c", "d"]


def test_a_collection_that_another_drops_while_it_is_opened_is_not_found(tmp_path, monkeypatch):
    with Database(tmp_path / "db") as one, Database(tmp_path / "db") as two:
        folder_of = one._registry.folder_of

        def dropped_then(name):
            found = folder_of(name)
            monkeypatch.setattr(one._registry, "folder_of", folder_of)
            two.drop(name)
            return found

        for act in (one.open, one.drop, lambda name: one.create(name, exist_ok=True)):
            two.create("c")
            monkeypatch.setattr(one._registry, "folder_of", dropped_then)
            with pytest.raises(CollectionNotFoundError, match="no collection 'c'"):
                act("c")

        def made_anew_then(name):
            found = dropped_then(name)
            two.create(name, 3)
            return found

        two.create("c", 2)
        monkeypatch.setattr(one._registry, "folder_of", made_anew_then)
        assert one.open("c").dimension == 3


def test_closing_while_others_work(tmp_path):
    for number, make in enumerate([Database.in_memory, lambda: Database(tmp_path / "db")] * 5):
        database = make()
        collection = database.create(f"c{number}", 4)
        collection.add(np.ones((50, 4)))

        def use(collection=collection):
            while True:
                collection.search(np.ones(4), 3, include_vectors=True)
                collection.add(np.ones((2, 4)))

        outcomes = in_threads(database.close, use, use, use)
        assert outcomes[0] is None
        assert [type(error) for error in outcomes[1:]] == [ClosedError] * 3


@pytest.mark.parametrize("path", ["a\0b", "x" * 300])
def test_an_impossible_path_is_refused(path):
    with pytest.raises((InvalidInputError, StorageError)):
        Database(path)


BAD_NAME = os.fsdecode(b"caf\xe9_db") if os.name == "posix" else "caf\ud800_db"


@pytest.mark.parametrize("name", [BAD_NAME, "lone\ud800"])
def test_a_path_that_is_no_unicode_is_refused(tmp_path, name):
    path = tmp_path / name
    with Database(tmp_path / "db") as database:
        database.backup(tmp_path / "backup")
        for act in (
            lambda: Database(path),
            lambda: Database(path, read_only=True),
            lambda: database.backup(path),
            lambda: Database.restore(tmp_path / "backup", path),
            lambda: Database.restore(path, tmp_path / "again"),
        ):
            with pytest.raises(InvalidInputError, match=r"is not UTF-8.*Rename") as caught:
                act()
            assert ascii(name)[1:-1] in str(caught.value)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backup", "db"]


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_a_path_from_a_folder_that_is_no_unicode_is_refused(tmp_path, monkeypatch):
    (tmp_path / BAD_NAME).mkdir()
    monkeypatch.chdir(tmp_path / BAD_NAME)
    with pytest.raises(InvalidInputError, match="is not UTF-8"):
        Database("db")
    with Database(tmp_path / "db") as database:
        assert database.list() == []


@pytest.mark.parametrize("wait", ["x", None, -1, float("nan")])
def test_the_time_to_wait_is_checked(tmp_path, wait):
    with pytest.raises(InvalidInputError, match="lock_timeout_s"):
        Database(tmp_path / "db", lock_timeout_s=wait)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_FSIZE")
def test_a_full_disk_changes_nothing(tmp_path):
    script = """
import resource, sys
import numpy as np
from m2m_rag import Database
from m2m_rag.errors import StorageError

def limit(n_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))

n_failed = 0
for n_bytes in (0, 3_000, 20_000):
    path = f"{sys.argv[1]}/{n_bytes}"
    limit(n_bytes)
    try:
        Database(path)
    except StorageError:
        n_failed += 1
    limit(resource.RLIM_INFINITY)
    Database(path).close()
with Database(path) as database:
    collection = database.create("c")
    collection.add(np.ones((100, 64)))
    for n_bytes in range(10_000, 200_000, 20_000):
        for write in (
            lambda: collection.add(np.ones((300, 64))),
            lambda: collection.delete(collection.ids()[:1]),
            lambda: database.create(f"n{n_bytes}"),
        ):
            before = collection.count(), database.list()
            limit(n_bytes)
            try:
                write()
            except StorageError:
                n_failed += 1
                assert before == (collection.count(), database.list())
            limit(resource.RLIM_INFINITY)
    collection.add(np.ones((1, 64)))
    assert len(collection.search(np.ones(64), 10**6)) == collection.count()
print(n_failed > 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr
