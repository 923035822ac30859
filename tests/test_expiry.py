"""Records that expire, and upserts that depend on what is stored."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import InvalidInputError

PAST = datetime.now(UTC) - timedelta(hours=1)
FUTURE = datetime.now(UTC) + timedelta(hours=1)


@pytest.fixture(params=["memory", "disk"])
def collection(request, tmp_path):
    made = Database.in_memory() if request.param == "memory" else Database(tmp_path / "db")
    with made as database:
        yield database.create("c", 2)


def test_an_expired_record_is_gone_from_every_read(collection):
    soon = datetime.now(UTC) + timedelta(seconds=0.4)
    collection.add(
        [[1, 0], [0, 1], [1, 1]],
        ids=["soon", "later", "stays"],
        texts=["a fish", "a fish", "a fish"],
        metadatas=[{"n": 1}, {"n": 1}, {"n": 1}],
        expires_at=[soon, FUTURE, None],
    )
    assert collection.get(["soon", "later", "stays"])[0].expires_at == soon
    assert collection.count() == collection.count({"n": 1}) == 3
    time.sleep(0.5)
    left = {"later", "stays"}
    assert collection.count() == collection.count({"n": 1}) == len(list(collection)) == 2
    assert set(collection.ids()) == set(collection.ids({"n": 1})) == left
    assert (
        {r.id for r in collection.get()} == {r.id for r in collection.get(where={"n": 1})} == left
    )
    assert collection.get(["soon"]) == []
    assert {hit.id for hit in collection.search([1, 0], 9)} == left
    assert {hit.id for hit in collection.search([1, 0], 9, where={"n": 1})} == left
    assert {hit.id for hit in collection.search(text="fish")} == left
    assert {hit.id for hit in collection.search_mmr([1, 0], 9)} == left
    assert collection.facets("n") == [(1, 2)]
    assert collection.vectors_of_texts(["a fish"])["a fish"].tolist() != [1, 0]
    assert collection.stats()["n_records"] == 2


def test_the_next_write_takes_it_out(collection):
    collection.add([[1, 0], [0, 1]], ids=["a", "b"], texts=["x", "y"], expires_at=[PAST, FUTURE])
    assert collection.delete(["a"]) == 0
    with collection._snapshot() as snapshot:
        assert snapshot.state.n_live == 1
        assert len(snapshot.expired_rows) == 0
        assert snapshot.state.next_expiry_us == round(FUTURE.timestamp() * 1e6)
    assert collection.add([[1, 0]], ids=["a"]) == ["a"]
    assert collection.get(["a"])[0].expires_at is None


def test_updates_of_expired_records_are_refused_and_upserts_revive(collection):
    collection.add([[1, 0]], ids=["a"], expires_at=[PAST])
    with pytest.raises(KeyError):
        collection.update(["a"], [{"n": 1}])
    assert collection.upsert([[0, 1]], ids=["a"], only="existing").skipped == 1
    assert collection.upsert([[0, 1]], ids=["a"]).added == 1
    assert collection.count() == 1


def test_moments_come_back_in_utc(collection):
    moment = datetime(2999, 5, 17, 12, 30, 15, 123457, tzinfo=timezone(timedelta(hours=-7)))
    collection.add([[1, 0]], ids=["a"], expires_at=[moment])
    assert collection.get(["a"])[0].expires_at == moment
    assert collection.search([1, 0])[0].expires_at.tzinfo == UTC


def test_the_first_and_the_last_moment_come_back(collection):
    collection.add([[1, 0]], ids=["last"], expires_at=[datetime.max.replace(tzinfo=UTC)])
    assert collection.get(["last"])[0].expires_at == datetime.max.replace(tzinfo=UTC)
    collection.add([[1, 0]], ids=["first"], expires_at=[datetime.min.replace(tzinfo=UTC)])
    assert collection.ids() == ["last"]


class Unknown(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, _):
        return None


class Broken(tzinfo):
    """A zone of a user that does not work."""

    def utcoffset(self, _):
        raise RuntimeError("no such zone")


@pytest.mark.parametrize(
    "wrong",
    [
        [datetime(2099, 1, 1)],
        [3600.0],
        ["2099-01-01"],
        [None, None],
        [datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))],
        [datetime.min.replace(tzinfo=timezone(timedelta(hours=5)))],
        [datetime(2099, 1, 1, tzinfo=Unknown())],
        [datetime(2099, 1, 1, tzinfo=Broken())],
    ],
)
def test_what_is_no_moment_is_refused(collection, wrong):
    with pytest.raises(InvalidInputError, match="expires_at"):
        collection.add([[1, 0]], expires_at=wrong)
    assert collection.count() == 0


def test_only_what_changed_is_written(collection):
    columns = {
        "ids": ["a", "b", "c"],
        "texts": ["one", "two", None],
        "metadatas": [{"n": 1}, {"n": 2}, {}],
    }
    assert collection.upsert(np.eye(3, 2), **columns, only="changed")[1:] == (3, 0, 0, 0)
    before = collection.stats()["n_dead_rows"]
    assert collection.upsert(np.ones((3, 2)), **columns, only="changed")[1:] == (0, 0, 0, 3)
    assert collection.stats()["n_dead_rows"] == before
    assert collection.get(["a"], include_vectors=True)[0].vector.tolist() == [1, 0]
    columns["texts"][0], columns["metadatas"][1] = "ONE", {"n": 3}
    report = collection.upsert(np.ones((3, 2)), **columns, only="changed", replace_where={})
    assert report[1:] == (0, 2, 0, 1)
    assert collection.get(["a"])[0].text == "ONE"


def test_metadata_is_equal_in_any_order_of_its_keys_and_by_type(collection):
    moment = datetime(2024, 5, 6, tzinfo=UTC)
    stored = {"a": {"x": 1, "y": [moment]}, "b": True, "c": None}
    same = {"c": None, "b": True, "a": {"y": [moment], "x": 1}}
    collection.add([[1, 0]], ids=["a"], metadatas=[stored])
    report = collection.upsert([[0, 1]], ids=["a"], metadatas=[same], only="changed")
    assert (report.updated, report.skipped) == (0, 1)
    for other in ({**same, "b": 1}, {**same, "b": 1.0}, {**same, "c": False}, {"b": 1.0}):
        report = collection.upsert([[0, 1]], ids=["a"], metadatas=[other], only="changed")
        assert (report.updated, report.skipped) == (1, 0)


def test_only_what_exists_is_written(collection):
    collection.add([[1, 0]], ids=["a"])
    report = collection.upsert(
        [[0, 1], [1, 1]], ids=["a", "b"], texts=["new", "none"], only="existing"
    )
    assert report == (["a", "b"], 0, 1, 0, 1)
    assert collection.ids() == ["a"]
    with pytest.raises(InvalidInputError, match="'changed' or 'existing'"):
        collection.upsert([[0, 1]], only="new")


def test_compaction_gives_back_what_expired(collection):
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    collection.add([[1, 0]] * 3, ids=["a", "b", "c"], expires_at=[soon, soon, None])
    time.sleep(0.3)
    report = collection.compact()
    assert (report.n_records, report.n_removed) == (1, 2)
    assert collection.ids() == ["c"]
