"""Migrations: whole or not at all, the old catalog kept, no step skipped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from types import MappingProxyType

import apsw
import numpy as np
import pytest

from m2m_rag import Database, _database_upkeep
from m2m_rag.errors import CorruptError, FormatError, OldFormatError, WriterLockedError
from m2m_rag.storage import catalog as catalog_module
from m2m_rag.storage import verifying
from m2m_rag.storage.migrating import migrate
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.sqlite import open_database

BASE = KIND.version
NEWER = replace(
    KIND,
    version=BASE + 2,
    schema=KIND.schema.replace("metadata TEXT NOT NULL,", "metadata TEXT NOT NULL, colour TEXT,"),
)


def add_column(connection):
    connection.execute("ALTER TABLE records ADD COLUMN colour TEXT").fetchall()


def fill_column(connection):
    connection.execute("UPDATE records SET colour = 'red'").fetchall()


STEPS = MappingProxyType({BASE: add_column, BASE + 1: fill_column})
KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from test_migrating import NEWER, add_column
from m2m_rag.storage.migrating import migrate

def killed(connection):
    connection.execute("UPDATE records SET colour = 'blue'").fetchall()
    connection.cache_flush()
    os.kill(os.getpid(), signal.SIGKILL)

migrate(Path(sys.argv[1]), NEWER, {NEWER.version - 2: add_column, NEWER.version - 1: killed})
"""


@pytest.fixture
def path(tmp_path):
    with Database(tmp_path / "db") as database:
        rows = np.arange(300.0).reshape(100, 3)
        database.create("c", metric="l2").add(rows, ids=[str(row) for row in range(100)])
    (found,) = (tmp_path / "db").rglob(CATALOG_FILE)
    return found


def colours(path, kind):
    connection = open_database(path, kind)
    rows = connection.execute("SELECT DISTINCT colour FROM records").fetchall()
    connection.close()
    return [row[0] for row in rows]


def dump(path, kind):
    connection = open_database(path, kind)
    tables = ("state", "records", "tombstones", "vector_files", "vector_blocks", "sqlite_schema")
    rows = [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
    connection.close()
    return rows


def test_steps_run_in_order_and_the_old_file_is_kept(path):
    old, contents = path.read_bytes(), dump(path, KIND)
    assert migrate(path, KIND, {}) == BASE
    assert path.read_bytes() == old
    assert migrate(path, NEWER, STEPS) == BASE
    assert colours(path, NEWER) == ["red"]
    kept = path.with_name(f"{CATALOG_FILE}.v{BASE}")
    assert dump(kept, KIND) == contents
    assert migrate(path, NEWER, STEPS) == BASE + 2
    with pytest.raises(FormatError, match="Upgrade"):
        migrate(path, KIND, {})


def test_a_step_that_fails_changes_nothing(path):
    def broken(connection):
        connection.execute("DELETE FROM records").fetchall()
        connection.execute("SELECT nonsense").fetchall()

    old = path.read_bytes()
    for steps, error in (
        ({BASE: add_column, BASE + 1: broken}, "nonsense"),
        ({BASE: add_column}, str(BASE + 1)),
    ):
        with pytest.raises((OSError, KeyError), match=error):
            migrate(path, NEWER, steps)
        assert open_database(path, KIND).execute("SELECT count(*) FROM records").get == 100
    assert path.read_bytes() == old


def test_a_step_that_breaks_the_catalog_is_undone(path):
    def breaking(connection):
        connection.execute("PRAGMA writable_schema = ON").fetchall()
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'kappa REAL', 'kappa REAL NOT NULL')"
        ).fetchall()
        connection.execute("PRAGMA writable_schema = RESET").fetchall()

    with pytest.raises(CorruptError, match="Nothing was changed"):
        migrate(path, replace(KIND, version=BASE + 1), {BASE: breaking})
    open_database(path, KIND).close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_kill_in_the_middle_leaves_the_old_catalog(path):
    command = [sys.executable, "-c", KILLED, str(path), "", os.path.dirname(__file__)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    connection = open_database(path, KIND)
    assert connection.execute("SELECT count(*) FROM records").get == 100
    connection.close()
    assert migrate(path, NEWER, STEPS) == BASE
    assert colours(path, NEWER) == ["red"]


def test_a_damaged_catalog_is_not_migrated(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        migrate(path, NEWER, STEPS)
    assert path.read_bytes() == data


@pytest.fixture
def newer(monkeypatch):
    for module in (_database_upkeep, catalog_module, verifying):
        monkeypatch.setattr(module, "KIND", NEWER)
    monkeypatch.setattr(_database_upkeep, "CATALOG_STEPS", STEPS)


def test_opening_for_writing_migrates(path, newer):
    folder = path.parents[2]
    with Database(folder, read_only=True) as reader:
        with pytest.raises(OldFormatError, match="once for writing"):
            reader.open("c")
    with Database(folder) as database:
        assert database.open("c").search([0, 1, 2], 1)[0].id == "0"
        database.open("c").add([[5, 5, 5]], ids=["new"])
    with Database(folder, read_only=True) as reader:
        assert reader.open("c").count() == 101
        assert reader.verify().is_sound
    assert colours(path, NEWER) == ["red", None]


def test_a_migration_waits_for_the_writer(path, newer):
    code = "import sys; from m2m_rag import Database; d = Database(sys.argv[1]);"
    code += "d.create('x'); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(path.parents[2])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        with Database(path.parents[2]) as database, pytest.raises(WriterLockedError):
            database.open("c")
        writer.stdin.close()
    with Database(path.parents[2]) as database:
        assert database.open("c").count() == 100


def test_pages_keep_their_checksums(path):
    migrate(path, NEWER, STEPS)
    for file in (path, path.with_name(f"{CATALOG_FILE}.v{BASE}")):
        assert file.read_bytes()[20] == 8
        connection = apsw.Connection(str(file), vfs="cksmvfs")
        assert connection.pragma("integrity_check") == "ok"
        connection.close()
