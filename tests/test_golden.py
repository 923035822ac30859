"""Databases of every format that was released still open, answer and can be written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from golden import FOLDER, D, answers

from m2m_rag import Database
from m2m_rag.errors import FormatError, OldFormatError
from m2m_rag.storage.acknowledged import COMMIT_FILE
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.sqlite import open_database

pytestmark = pytest.mark.fault("F14", "opened, written, restored, put back, refused when newer")
FORMATS = sorted(int(folder.name.removeprefix("format-")) for folder in FOLDER.glob("format-*"))


@pytest.fixture(params=FORMATS, ids=lambda number: f"format-{number}")
def golden(request, tmp_path):
    folder = FOLDER / f"format-{request.param}"
    shutil.copytree(folder / "database", tmp_path / "db")
    expected = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return request.param, tmp_path / "db", expected


def test_every_format_up_to_the_present_has_one():
    assert list(range(1, KIND.version + 1)) == FORMATS


def test_it_opens_answers_and_can_be_written(golden):
    number, path, expected = golden
    with Database(path) as database:
        found = answers(database)
        assert {name: found[name] for name in expected} == expected
        assert database.verify().findings == []
        collection = database.open("notes")
        assert collection.add(np.full((2, D), 0.5), ids=["new", "newer"]) == ["new", "newer"]
        collection.delete(["new"])
        assert collection.search(np.full(D, 0.5), 1)[0].id == "newer"
    with Database(path, read_only=True) as database:
        assert database.open("notes").ids() == [r[0] for r in expected["records"]] + ["newer"]
        assert database.verify().findings == []
    kept = list(path.rglob(f"{CATALOG_FILE}.v*"))
    assert len(kept) == (2 if number < KIND.version else 0), "one for each collection"


def test_repair_names_a_collection_that_no_name_leads_to(golden):
    _, path, expected = golden
    with Database(path) as database:
        folder = database._registry.folder_of("notes")
        database._registry.remove("notes", folder)
        assert database.verify().findings[0].kind == "derived"
        database.repair()
        assert len(database.open(f"found-{folder[:8]}")) == len(expected["records"])


def test_it_can_be_restored(golden, tmp_path):
    """A backup of an older version is brought up to date on the way; it stays what it is."""
    number, path, expected = golden
    with Database.restore(path, tmp_path / "again") as database:
        found = answers(database)
        assert {name: found[name] for name in expected} == expected
        assert database.verify().findings == []
    for catalog in path.rglob(CATALOG_FILE):
        connection = open_database(catalog, KIND, any_format=True)
        assert connection.pragma("user_version") == number
        connection.close()


def test_reading_alone_migrates_nothing(golden):
    number, path, expected = golden
    with Database(path, read_only=True) as database:
        if number == KIND.version:
            assert answers(database) == expected
        else:
            with pytest.raises(OldFormatError, match="once for writing"):
                answers(database)
    for catalog in path.rglob(CATALOG_FILE):
        connection = open_database(catalog, KIND, any_format=True)
        assert connection.pragma("user_version") == number
        connection.close()


def test_the_kept_catalog_can_be_put_back(golden):
    """Going back to the older version: what was written since is gone, all else is there."""
    number, path, expected = golden
    if number == KIND.version:
        assert not list(path.rglob(f"{CATALOG_FILE}.v*"))
        return
    with Database(path) as database:
        answers(database)
        database.open("notes").add(np.full((40, D), 0.5))
    for kept in path.rglob(f"{CATALOG_FILE}.v{number}"):
        kept.replace(kept.with_name(CATALOG_FILE))
        kept.with_name(COMMIT_FILE).unlink(missing_ok=True)
        connection = open_database(kept.with_name(CATALOG_FILE), KIND, any_format=True)
        connection.close()
    with Database(path) as database:
        found = answers(database)
        assert {name: found[name] for name in expected} == expected


def test_an_older_version_refuses_a_newer_format(golden):
    _, path, _ = golden
    for catalog in path.rglob(CATALOG_FILE):
        with pytest.raises(FormatError, match="Upgrade"):
            open_database(catalog, replace(KIND, version=0))
