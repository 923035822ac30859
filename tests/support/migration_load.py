"""Migrating an older format, for power loss: the load, and the check of a state of the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from fault_load import Stored, say
from golden import answers
from upkeep_load import check_answers

from m2m_rag import Database
from m2m_rag.storage.acknowledged import COMMIT_FILE
from m2m_rag.storage.schema import CATALOG_FILE


def migrate(path: str, *names: str) -> None:
    """Open each collection of an older format for writing; write to one, compact it, close."""
    with Database(path) as database:
        for number, name in enumerate(names):
            database.open(name)
            say(number)
        notes = database.open("notes")
        notes.add([[0.5] * (notes.dimension or 0)], ids=["new"])
        say(len(names))
        notes.compact()
        say(len(names) + 1)
    say(len(names) + 2)


def check_migrated(path: Path, expected: dict, n_done: int) -> int:
    """Check a database during `migrate`; return how many catalogs of the old format are kept.

    A kept one is whole as long as no compaction has begun: put back, it is the older database.
    """
    n_names = len(expected["names"])
    kept = sorted(path.rglob(f"{CATALOG_FILE}.v[0-9]"))
    if kept and n_done <= n_names:
        old = path.with_name("put-back")
        shutil.copytree(path, old)
        for file in old.rglob(f"{CATALOG_FILE}.v[0-9]"):
            for suffix in ("-wal", "-shm"):
                file.with_name(CATALOG_FILE + suffix).unlink(missing_ok=True)
            file.replace(file.with_name(CATALOG_FILE))
            file.with_name(COMMIT_FILE).unlink(missing_ok=True)
        _check_golden(old, expected, {0})
        shutil.rmtree(old)
    _check_golden(path, expected, {0, 1} if n_done == n_names else {int(n_done > n_names)})
    return len(kept)


def _check_golden(path: Path, expected: dict, n_new: set[int]) -> None:
    with Database(path) as database:
        for name in expected["names"]:
            database.open(name)
        report = database.verify()
        assert not report.lost, report.findings
        assert {finding.kind for finding in report.findings} <= {"derived", "leftover"}
        notes = database.open("notes")
        assert notes.delete(["new"]) in n_new, "a record that was added is gone, or came of itself"
        found = answers(database)
        assert {name: found[name] for name in expected} == expected
        records = {row[0]: Stored(row[1], row[2], tuple(row[5])) for row in expected["records"]}
        check_answers(notes, records)
        assert database.repair().is_sound
        assert database.verify().findings == []
