"""README's table of faults is what the programme wrote, and lacks no part of it."""

from __future__ import annotations

import json

import fault_table as faults

ROWS = json.loads(faults.TABLE.read_text())["rows"]


def test_the_tables_are_those_of_the_rows():
    readme = faults.README.read_text()
    assert readme == faults.with_table(readme, ROWS)
    assert faults.TABLE.with_suffix(".md").read_text() == faults.details(ROWS)


def test_no_part_is_missing():
    assert {row["id"] for row in ROWS} == set(faults.PARTS)
    for row in ROWS:
        assert (faults.ROOT / row["file"]).exists()
        for name in ("lost", "wrong", "torn", "crashed", "unreadable", "hung", "differences"):
            assert row["outcome"].get(name, 0) == 0, row


def test_rows_of_one_fault_are_added():
    collector = faults.Collector()
    for n in (3, 4):
        outcome = {"lost": 0, "killed": n}
        collector._take({"id": "F1", "fault": "x", "n": n, "seed": 5, "outcome": outcome})
    (row,) = collector.rows.values()
    assert (row["n"], row["outcome"]) == (7, {"lost": 0, "killed": 7})
    assert "| F1 | x | 7 | 5 | 0 lost, 7 killed |" in faults.details([row])
