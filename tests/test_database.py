"""Databases: creating, opening, listing and dropping collections; what a folder may be."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from m2m_rag import Database
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
def test_only_the_owner_may_read(tmp_path):
    old = os.umask(0o022)
    try:
        with Database(tmp_path / "db") as database:
            database.create("c").add([[1.0]])
            modes = {
                item.relative_to(tmp_path): stat.S_IMODE(item.stat().st_mode)
                for item in tmp_path.rglob("*")
            }
    finally:
        os.umask(old)
    assert modes
    assert {path: oct(mode) for path, mode in modes.items() if mode & 0o077} == {}
