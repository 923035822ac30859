"""The decisions of upkeep: which files are in use, and what is done about a finding."""

from __future__ import annotations

import pytest

from m2m_rag.storage.leftovers import use_in_collection, use_in_database
from m2m_rag.storage.repairing import Plan, plan_repair
from m2m_rag.storage.reports import Finding

FOLDER = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("catalog.sqlite", "used"),
        ("catalog.sqlite-wal", "used"),
        ("catalog.sqlite-shm", "used"),
        ("catalog.sqlite.v1", "used"),
        ("catalog.sqlite.new", "leftover"),
        ("catalog.sqlite.v1.new", "leftover"),
        ("catalog.sqlite.new-journal", "leftover"),
        ("catalog.sqlite.bak", "foreign"),
        ("catalog.sqlite/x", "foreign"),
        ("vectors", "used"),
        ("vectors/3-0.f32", "used"),
        ("vectors/3-1.f32", "leftover"),
        ("vectors/2-0.f32", "leftover"),
        ("vectors/3-0.f32.bak", "foreign"),
        ("vectors/sub/3-0.f32", "foreign"),
        ("index", "used"),
        ("index/3", "used"),
        ("index/2", "leftover"),
        ("index/3/000000000012-0123456789ab.hrm2", "used"),
        ("index/3/000000000012-0123456789ab.hrm2.tmp", "leftover"),
        ("index/2/000000000012-0123456789ab.hrm2", "leftover"),
        ("index/3/mine.hrm2", "foreign"),
        ("3-0.f32", "foreign"),
    ],
)
def test_use_in_a_collection(path, use):
    assert use_in_collection(path, 3, {"3-0.f32"}) == use


@pytest.mark.parametrize(
    ("path", "use"),
    [
        ("LOCK", "used"),
        ("LOCK.holder", "used"),
        ("database.sqlite", "used"),
        ("database.sqlite-wal", "used"),
        ("database.sqlite.new", "leftover"),
        ("database.sqlite.bak", "foreign"),
        ("collections", "used"),
        (f"collections/{FOLDER}", "used"),
        (f"collections/{FOLDER[::-1]}", "leftover"),
        ("collections/mine", "foreign"),
        (FOLDER, "foreign"),
    ],
)
def test_use_in_a_database(path, use):
    assert use_in_database(path, {FOLDER}) == use


def test_truth_is_only_given_up_when_asked():
    block = Finding("truth", f"collections/{FOLDER}/vectors/1-0.f32", "rows", ("a", "b"))
    dead = block._replace(ids=())
    text = Finding("truth", f"collections/{FOLDER}/catalog.sqlite", "a text", ("c",))
    index = Finding("derived", f"collections/{FOLDER}/index/1/a.hrm2", "damaged")
    words = Finding("derived", f"collections/{FOLDER}/catalog.sqlite", "words")
    left = Finding("leftover", f"collections/{FOLDER}/vectors/2-0.f32", "left")
    nothing = Plan([], False, False, [], False)

    def plan(*findings, drop_damaged=False):
        return plan_repair(findings, drop_damaged=drop_damaged)

    assert plan() == nothing
    assert plan(block, text) == nothing
    assert plan(block, dead) == nothing
    assert plan(dead) == nothing._replace(is_rewriting=True)
    assert plan(block, text, drop_damaged=True) == Plan(["a", "b", "c"], True, False, [], False)
    assert plan(text, drop_damaged=True) == nothing._replace(drop_ids=["c"])
    assert plan(index) == nothing._replace(remove=[index.place])
    assert plan(words) == nothing._replace(is_rebuilding_texts=True)
    assert plan(left, drop_damaged=True) == nothing._replace(is_sweeping=True)
