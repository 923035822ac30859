"""Metadata columns: what a filter selects equals the plain evaluator, whatever is committed."""

from __future__ import annotations

import sys
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


def replace(collection):
    collection.upsert([[1, 1]], ids=["late"], metadatas=[{"i": 7000}])


def delete(collection):
    collection.delete(["late"])


def change(collection):
    collection.update(["late"], [{"i": 8000}])


@pytest.mark.parametrize(
    "steps", [[replace], [delete], [change], [change, delete], [change, replace], [delete, replace]]
)
@pytest.mark.parametrize("is_read_before", [False, True])
def test_an_older_snapshot_keeps_a_record_that_was_rewritten(collection, steps, is_read_before):
    """The column is read, or read on, only when the record is gone or another."""
    columns, node = collection._parts.columns, Compare("i", "eq", 7000)
    collection.count({"i": 0})
    replace(collection)
    if is_read_before:
        collection.count(node)
    with collection._snapshot() as old:
        expected = [N]
        for step in steps:
            step(collection)
        with collection._snapshot() as new:
            columns.mask(node, new)
        alive = collection._parts.store.liveness.mask(old)
        mask = columns.mask(node, old)
        assert np.flatnonzero(mask if alive is None else mask & alive).tolist() == expected
        numbers, values = columns.numbered("i", old)
        assert values[numbers[N]] == 7000


def test_readers_never_miss_a_record_that_is_replaced_all_the_time(collection):
    """Several readers, so that one's snapshot is older than what another has read."""
    wrong, stopped = [], threading.Event()

    def read():
        while not stopped.is_set():
            found = collection.count({"i": 7000}), len(collection.get(where={"i": 7000}))
            if found != (1, 1):
                wrong.append(found)

    replace(collection)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(400):
            replace(collection)
        stopped.set()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_values_that_no_record_has_any_more_are_forgotten(collection, monkeypatch):
    monkeypatch.setattr("m2m_rag._columns.SPARE_VALUES", 40)
    for step in range(400):
        collection.update(["r0"], [{"i": 10_000 + step}])
        assert collection.ids({"i": 10_000 + step}) == ["r0"]
        assert len(collection._parts.columns._columns["i"].values) <= 2 * N + 41
    assert collection.count({"i": {"$gte": 50, "$lt": 60}}) == 10


def test_columns_take_no_more_memory_than_they_may(collection, monkeypatch):
    columns = collection._parts.columns
    for row in range(N):
        collection.update([f"r{row}"], [{"long": f"{row}" * 1000}])
    for path in ("i", "odd", "long"):
        collection.count({path: {"$exists": True}})
    assert columns._columns["long"].n_bytes > 60_000
    monkeypatch.setattr("m2m_rag._columns.MOST_BYTES", 70_000)
    assert collection.count({"tags": {"$exists": True}}) == N
    assert "long" not in columns._columns or len(columns._columns) == 1
    assert collection.count({"long": {"$like": "7777%"}}) == 1


def test_patterns_are_asked_about_new_values_alone(collection, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "m2m_rag._columns.matches", lambda node, data: asked.append(data) or matches(node, data)
    )
    node = {"name": {"$like": "a%"}}
    collection.update(["r1", "r2"], [{"name": "ab"}, {"name": "b"}])
    assert [collection.ids(node) for _ in range(3)] == [["r1"]] * 3
    assert len(asked) == 3
    collection.update(["r3"], [{"name": "abc"}])
    assert collection.ids(node) == ["r1", "r3"]
    assert asked[3:] == [{"name": "abc"}]
    for letter in "bcdefghijk":
        collection.ids({"name": {"$like": letter + "%"}})
    assert collection.ids(node) == ["r1", "r3"]


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
