"""SQL on the connections of calls reaches no other file, no code and no setting."""

from __future__ import annotations

import apsw
import pytest

from m2m_rag import Database


@pytest.mark.parametrize("where", ["disk", "memory"])
@pytest.mark.parametrize(
    "statement",
    [
        "ATTACH '{other}' AS other",
        "PRAGMA writable_schema = 1",
        "pragma journal_mode = OFF",
        "SELECT * FROM pragma_compile_options",
    ],
)
def test_statements_that_reach_further_are_refused(tmp_path, where, statement):
    path = tmp_path / "db"
    database = Database(path) if where == "disk" else Database.in_memory()
    with database:
        collection = database.create("c", 2)
        collection.add([[1, 0]], texts=["a word"])
        with collection._parts.store.catalog._pool.connection() as connection:
            with pytest.raises(apsw.AuthError, match="not authorized"):
                connection.execute(statement.format(other=tmp_path / "other")).fetchall()
        assert len(collection.search(text="word")) == 1
        assert database.verify().is_sound
    assert not (tmp_path / "other").exists()
