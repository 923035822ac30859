"""Pickled and copied handles: path, settings and name, opened again where they are loaded."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import ClosedError, FormatError, InvalidInputError, ReadOnlyError

WAYS = [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy, copy.copy]


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c", 2).add([[1, 0], [0, 1]], ids=["x", "y"])
    return tmp_path / "db"


@pytest.mark.parametrize("way", WAYS, ids=["pickle", "deepcopy", "copy"])
def test_a_database_is_copied_as_a_handle_of_its_own(path, way):
    with Database(path) as database, way(database) as twin:
        assert twin is not database
        assert twin.path == path
        database.open("c").add([[1, 1]], ids=["z"])
        database.close()
        assert twin.open("c").ids() == ["x", "y", "z"]
        assert twin.open("c").delete(["z"]) == 1


@pytest.mark.parametrize("way", WAYS[:2], ids=["pickle", "deepcopy"])
def test_a_collection_is_copied_with_a_database_of_its_own(path, way):
    with Database(path) as database:
        collection = database.open("c")
        twin = way(collection)
        assert twin.database is not database
        database.close()
        with twin.database:
            assert [hit.id for hit in twin.search([1, 0])] == ["x", "y"]
            twin.add([[1, 1]], ids=["z"])


def test_a_shallow_copy_of_a_collection_shares_the_database(path):
    with Database(path) as database:
        collection = database.open("c")
        twin = copy.copy(collection)
        assert twin.database is database
        twin.close()
        assert collection.count() == 2


def test_what_is_pickled_together_stays_together(path):
    with Database(path) as database:
        again, collection, other = pickle.loads(
            pickle.dumps((database, database.open("c"), database.open("c")))
        )
        with again:
            assert collection.database is other.database is again


def test_a_pickle_holds_no_vectors(tmp_path):
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(np.ones((1000, 64)))
        collection.search(np.ones(64))
        assert len(pickle.dumps(collection)) < 500


def test_settings_are_kept(path):
    with Database(path, read_only=True, lock_timeout_s=1.5) as database:
        keywords = {
            name
            for name, parameter in inspect.signature(Database).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        with copy.deepcopy(database) as twin:
            assert set(database._settings) == keywords
            assert twin._settings == database._settings
            with pytest.raises(ReadOnlyError):
                twin.open("c").clear()


def test_a_relative_path_is_kept_whole(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    with Database("db") as database:
        frozen = pickle.dumps(database.open("c"))
    monkeypatch.chdir("/")
    collection = pickle.loads(frozen)
    with collection.database:
        assert collection.count() == 2


@pytest.mark.parametrize("way", WAYS, ids=["pickle", "deepcopy", "copy"])
def test_what_is_in_memory_cannot_be_copied(way):
    with Database.in_memory() as database:
        collection = database.create("c", 1)
        with pytest.raises(InvalidInputError, match=r"in memory.*Make it with Database\(path\)"):
            way(database)
        if way is not copy.copy:
            with pytest.raises(InvalidInputError, match="in memory"):
                way(collection)


def test_what_is_closed_cannot_be_copied(path):
    with Database(path) as database:
        collection = database.open("c")
        collection.close()
        with pytest.raises(ClosedError):
            pickle.dumps(collection)
    with pytest.raises(ClosedError):
        copy.deepcopy(database)


def test_a_folder_that_has_gone_is_not_made_anew(path):
    with Database(path) as database:
        frozen = pickle.dumps(database)
    path.rename(path.with_name("moved"))
    with pytest.raises(FormatError, match="not a database of m2m_rag any more"):
        pickle.loads(frozen)
    assert not path.exists()
