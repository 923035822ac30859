"""Dates and datetimes in a collection: they come back as such, and filters order them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from m2m_rag import Database
from m2m_rag.storage.metadata import decode_metadata, encode_metadata

AHEAD = timezone(timedelta(hours=5, minutes=30))
NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
METADATAS = [
    {"at": NOON},
    {"at": NOON.astimezone(AHEAD) + timedelta(seconds=1)},
    {"at": NOON.replace(tzinfo=AHEAD)},
    {"at": NOON.replace(tzinfo=None)},
    {"at": date(2024, 5, 6)},
    {"at": NOON.isoformat()},
    {"deep": {"days": [date(2024, 5, 6), date(2024, 5, 7)]}},
]


@pytest.fixture
def dated(database):
    collection = database.create("c", 1)
    collection.add(
        [[1.0]] * len(METADATAS), ids=[str(i) for i in range(len(METADATAS))], metadatas=METADATAS
    )
    return collection


def test_they_come_back_equal_with_type_and_offset(dated):
    for found, stored in zip(dated.get(), METADATAS, strict=True):
        assert found.metadata == stored
        if "at" in stored:
            assert repr(found.metadata["at"]) == repr(stored["at"])


def test_they_outlive_the_process(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c").add([[1.0]], ids=["a"], metadatas=[METADATAS[1]])
    with Database(tmp_path / "db", read_only=True) as database:
        assert database.open("c").search([1.0])[0].metadata == METADATAS[1]


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({"at": NOON}, "0"),
        ({"at": NOON.astimezone(AHEAD)}, "0"),
        ({"at": {"$gte": NOON}}, "01"),
        ({"at": {"$lt": NOON}}, "2"),
        ({"at": {"$gte": datetime(2024, 1, 1)}}, "3"),
        ({"at": {"$between": [date(2024, 5, 6), date(2024, 5, 6)]}}, "4"),
        ({"at": {"$ne": NOON}}, "123456"),
        ({"at": {"$in": [date(2024, 5, 6), NOON, 5]}}, "04"),
        ({"at": {"$text": "2024"}}, "5"),
        ({"at": {"$empty": True}}, "6"),
        ({"deep.days": {"$contains": date(2024, 5, 7)}}, "6"),
        ({"deep.days": {"$all": [date(2024, 5, 7), date(2024, 5, 6)]}}, "6"),
        ({"deep.days": {"$any": [datetime(2024, 5, 7)]}}, ""),
        ({"deep": {"days": [date(2024, 5, 6), date(2024, 5, 7)]}}, "6"),
        ({"at.$datetime": {"$exists": True}}, ""),
    ],
)
def test_filters_find_them(dated, where, ids):
    assert dated.ids(where) == list(ids)
    assert [hit.id for hit in dated.search([1.0], k=9, where=where)] == list(ids)


def test_an_update_keeps_the_others(dated):
    dated.update(["0"], [{"day": date(2024, 1, 1)}])
    assert dated.get(["0"])[0].metadata == {"at": NOON, "day": date(2024, 1, 1)}
    dated.update(["0"], [{"at": None}])
    assert dated.get(["0"])[0].metadata == {"at": None, "day": date(2024, 1, 1)}


def test_distinct_values_are_dates_again(dated):
    found = dated.distinct("at")
    assert len(found) == 6
    assert all(metadata["at"] in found for metadata in METADATAS if "at" in metadata)
    assert dated.distinct("$datetime") == []


def test_text_that_looks_like_a_stored_date_stays_text():
    metadata = {"a": '{"$day":"2024-05-06"}', "b": ["$day", "2024-05-06"], "$d": {"$x": 1}}
    assert decode_metadata(encode_metadata(metadata, "m")) == metadata
