"""The limits on batches and collections; those on one record are in test_bad_input.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from m2m_rag import Database, config
from m2m_rag.errors import LimitError


@pytest.fixture
def collection(tmp_path):
    with Database(tmp_path / "db") as database:
        yield database.create("c")


@pytest.mark.parametrize("call", ["add", "upsert"])
def test_a_batch_has_a_most(collection, monkeypatch, call):
    monkeypatch.setattr("m2m_rag._writing.LIMITS", replace(config.LIMITS, batch_records=10))
    getattr(collection, call)(np.ones((10, 2)))
    with pytest.raises(LimitError, match="11 records in one call; at most 10"):
        getattr(collection, call)(np.ones((11, 2)))
    assert collection.count() == 10


def test_a_collection_has_a_most(collection, monkeypatch):
    monkeypatch.setattr("m2m_rag._writing.LIMITS", replace(config.LIMITS, rows=10))
    collection.add(np.ones((8, 2)), ids=list("abcdefgh"))
    for write in (
        lambda: collection.add(np.ones((3, 2))),
        lambda: collection.upsert(np.ones((3, 2)), ids=list("abc")),
    ):
        with pytest.raises(LimitError, match="would hold 11 rows"):
            write()
    assert collection.count() == 8
    collection.delete(["a"])
    collection.compact()
    assert len(collection.add(np.ones((3, 2)))) == 3
