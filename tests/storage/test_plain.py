"""Links inside a database's folder are refused; nothing outside is read, written or emptied."""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, FormatError, M2MError
from m2m_rag.storage.files import private_file

SECRET = b"secret" * 3000


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        database.create("c").add(np.eye(3), ids=["a", "b", "c"])
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path / "db"


def read_and_write(path):
    with Database(path) as database:
        database.open("c").search([1, 0, 0])
        database.open("c").add(np.eye(3), ids=["x", "y", "z"])


@pytest.mark.parametrize(
    "pattern",
    [
        "LOCK", "LOCK.holder", "database.sqlite", "database.sqlite-wal", "collections",
        "collections/*/catalog.sqlite", "collections/*/catalog.sqlite-wal",
        "collections/*/catalog.commit", "collections/*/catalog.pages",
        "collections/*/vectors/1-0.f32", "collections/*/vectors", "collections/*/index",
    ],
)  # fmt: skip
def test_links_are_not_followed(path, tmp_path, pattern):
    *parents, name = pattern.split("/")
    (folder,) = path.glob("/".join(parents)) if parents else [path]
    victim = folder / name
    if victim.is_dir():
        victim.rename(tmp_path / "moved")
        victim.symlink_to(tmp_path / "moved")
    else:
        victim.unlink(missing_ok=True)
        victim.symlink_to(tmp_path / "secret")
    before = {p: p.read_bytes() for p in (tmp_path / "moved").rglob("*") if p.is_file()}
    with pytest.raises(M2MError):
        read_and_write(path)
    assert (tmp_path / "secret").read_bytes() == SECRET
    assert {p: p.read_bytes() for p in (tmp_path / "moved").rglob("*") if p.is_file()} == before


def test_the_database_itself_may_be_reached_through_a_link(path, tmp_path):
    (tmp_path / "link").symlink_to(path)
    with Database(tmp_path / "link") as database:
        database.open("c").add(np.ones((1, 3)))
        assert database.open("c").count() == 4
        assert database.verify().findings == []


def test_a_private_file_is_no_link(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError):
        private_file(tmp_path / "link", b"x")
    private_file(tmp_path / "file", b"x")
    assert (tmp_path / "secret").read_bytes() == SECRET
    assert (tmp_path / "file").read_bytes() == b"x"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_name_from_the_catalog_is_no_path(path, tmp_path):
    """The catalog's own words for a vector file are not believed."""
    with Database(path) as database:
        collection = database.open("c")
        with collection._transaction() as transaction:
            change = "UPDATE vector_files SET name = '../../../../secret'"
            transaction.connection.execute(change).fetchall()
        for call in (
            lambda: collection.search([1, 0, 0]),
            lambda: collection.add([[1, 1, 1]]),
            lambda: collection.get(include_vectors=True),
            lambda: database.backup(tmp_path / "backup"),
        ):
            with pytest.raises(M2MError, match="cannot be true"):
                call()
        assert not database.verify().is_sound
    assert (tmp_path / "secret").read_bytes() == SECRET


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE loose AS SELECT * FROM records; DROP TABLE records;"
        " ALTER TABLE loose RENAME TO records",
        "DROP TABLE tombstones",
        "ALTER TABLE records RENAME COLUMN kappa TO lambda",
        "ALTER TABLE records ADD COLUMN more TEXT AS (metadata || text)",
    ],
)
def test_tables_are_ours_or_the_catalog_is_not_opened(path, change):
    from m2m_rag.storage.schema import KIND
    from m2m_rag.storage.sqlite import open_database

    (catalog,) = path.rglob("catalog.sqlite")
    connection = open_database(catalog, KIND)
    connection.execute(change).fetchall()
    connection.close()
    with Database(path) as database, pytest.raises(CorruptError, match="not the one that we write"):
        database.open("c")


def test_views_and_triggers_are_not_run(path):
    from m2m_rag.storage.schema import KIND
    from m2m_rag.storage.sqlite import open_database

    (catalog,) = path.rglob("catalog.sqlite")
    connection = open_database(catalog, KIND)
    connection.execute(
        "CREATE TRIGGER evil AFTER INSERT ON records BEGIN DELETE FROM records; END"
    ).fetchall()
    connection.close()
    with Database(path) as database, pytest.raises(FormatError, match="'evil'"):
        database.open("c")


def test_a_count_that_is_not_true_takes_no_memory(path):
    with Database(path) as database:
        collection = database.open("c")
        with collection._transaction() as transaction:
            transaction.state = transaction.state._replace(n_rows=1 << 61)
    with Database(path) as database, pytest.raises(CorruptError, match="holds 3"):
        database.open("c").search([1, 0, 0])
