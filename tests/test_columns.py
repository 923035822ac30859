"""Metadata columns: what a filter selects equals the plain evaluator, whatever is committed."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metadata_strategies import FILTERS, METADATA

from m2m_rag import Database
from m2m_rag._columns import Columns, _Column
from m2m_rag.filters import And, Compare, Exists, In, Not, Or, matches

N = 60


def wanted(collection, node):
    return [record.id for record in collection if matches(node, record.metadata)]


@settings(max_examples=150, deadline=None)
@given(st.lists(METADATA, min_size=1, max_size=12), st.lists(FILTERS, min_size=1, max_size=4))
def test_every_filter_equals_the_plain_evaluator(stored, nodes):
    with Database.in_memory() as database:
        collection = database.create("c", 2)
        half = len(stored) // 2
        for part in (stored[:half], stored[half:]):
            collection.add(np.ones((len(part), 2)), metadatas=part)
            for node in nodes:
                assert collection.ids(node) == wanted(collection, node)
                assert collection.count(node) == len(wanted(collection, node))


@pytest.fixture
def collection(tmp_path):
    with Database(tmp_path / "db") as database:
        made = database.create("c", 2)
        made.add(
            np.ones((N, 2)),
            ids=[f"r{i}" for i in range(N)],
            metadatas=[{"i": i, "odd": bool(i % 2), "tags": ["x", f"t{i % 3}"]} for i in range(N)],
        )
        yield made


def test_columns_follow_every_kind_of_commit(collection):
    nodes = [
        Compare("i", "gte", 30),
        Compare("odd", "eq", True),
        In("i", (1, 2, 3, 1000), negated=True),
        Exists("new"),
        Or((Compare("i", "lt", 5), Not(Compare("odd", "ne", False)))),
        And((Compare("i", "gt", 2.5), Compare("new", "eq", None))),
    ]

    def check():
        for node in nodes:
            assert collection.ids(node) == wanted(collection, node), node

    check()
    collection.delete(["r3", "r40"])
    check()
    collection.update(["r1", "r59"], [{"i": 1000}, {"new": 1}])
    check()
    collection.upsert(np.ones((2, 2)), ids=["r1", "more"], metadatas=[{"i": 2}, {"new": None}])
    check()
    collection.add(np.ones((500, 2)), metadatas=[{"i": 2**60 + i, "odd": 1} for i in range(500)])
    check()
    assert collection.count({"i": {"$gt": 2**60 + 400}}) == 99
    assert collection.count({"i": {"$gte": float(2**60)}}) == 500
    collection.clear()
    check()


def test_an_older_snapshot_sees_what_it_was(collection):
    """A reader in the middle of its snapshot, while another changes metadata in place."""
    columns = collection._parts.columns
    node = Compare("i", "gte", 50)
    with collection._snapshot() as old:
        before = columns.mask(node, old).copy()
        collection.update(["r0", "r55"], [{"i": 99}, {"i": 0}])
        collection.add([[1, 1]], metadatas=[{"i": 77}])
        with collection._snapshot() as new:
            assert columns.mask(node, new).sum() == 11
        assert (columns.mask(node, old) == before).all()
        numbers, values = columns.numbered("i", old)
        assert [values[n] for n in numbers] == list(range(N))


def test_a_write_that_fails_leaves_no_trace_in_the_columns(collection):
    node = {"i": {"$gte": 50}}
    assert collection.count(node) == 10

    def stopped():
        with collection._transaction() as transaction:
            transaction.set_metadata([('{"i": 50}', 0)])
            assert len(collection._rows_where(transaction, Compare("i", "gte", 50))) == 11
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert collection.count(node) == 10
    assert collection.ids(node) == [f"r{i}" for i in range(50, 60)]


def test_the_column_unused_for_longest_goes_first(collection, monkeypatch):
    monkeypatch.setattr("m2m_rag._columns.MOST_COLUMNS", 2)
    for path in ("i", "odd", "i", "tags"):
        collection.count({path: {"$exists": True}})
    assert list(collection._parts.columns._columns) == ["i", "tags"]


def test_facets_count_values_and_the_members_of_lists(collection):
    assert collection.facets("odd") == [(False, 30), (True, 30)]
    assert collection.facets("tags") == [("x", 60), ("t0", 20), ("t1", 20), ("t2", 20)]
    assert collection.facets("tags", {"i": {"$lt": 4}}, limit=2) == [("x", 4), ("t0", 2)]
    assert collection.facets("nothing") == []
    collection.delete(["r0"])
    assert dict(collection.facets("odd")) == {False: 29, True: 30}
    assert collection.distinct("tags") == ["t0", "t1", "t2", "x"]


def test_readers_and_a_writer_at_the_same_time(collection):
    errors = []

    def read():
        try:
            for _ in range(60):
                assert collection.count({"odd": True}) >= 30
                total = collection.facets("odd")
                assert sum(facet.n for facet in total) >= N
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for step in range(30):
        collection.add(np.ones((3, 2)), metadatas=[{"odd": True}] * 3)
        collection.update([f"r{2 * step}"], [{"odd": True}])
    for thread in threads:
        thread.join()
    assert errors == []
    assert collection.count({"odd": True}) == 30 + 90 + 30


def test_a_column_may_be_read_for_an_old_generation_only(collection):
    columns = Columns()
    with collection._snapshot() as snapshot:
        columns._columns["i"] = _Column("i", snapshot.state.generation + 1)
        mask = columns.mask(Compare("i", "lt", 3), snapshot)
        assert np.flatnonzero(mask).tolist() == [0, 1, 2]
