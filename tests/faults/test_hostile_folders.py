"""A folder that an attacker made can at worst raise our error: no other error, crash or hang.

Each trial changes a sound database in one to three ways: bytes of a file, values and tables of the
SQLite files (with valid checksums), or what stands in a file's place. Then everything is tried.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from contextlib import suppress

import apsw
import numpy as np
import pytest
from fault_sizes import size

from m2m_rag import Database, M2MError
from m2m_rag.storage.registry import KIND as REGISTRY_KIND
from m2m_rag.storage.schema import KIND
from m2m_rag.storage.sqlite import open_database

N_FOLDERS = size(150, 1000)
SEED = 11
D = 4
LIMIT_S = 30
VALUES = [
    None, 0, -1, 1, 7, 2**31, 2**62, 2**63 - 1, -(2**63), 0.5, float("inf"), "", "x", "..",
    "../../secret", "/etc/passwd", "1-0.f32\0", "{", "[1]", '{"a": 1e999}', "[" * 5000, b"",
    b"x" * 16, "cosine", "memory", "1-9.f32",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "db"
    rng = np.random.default_rng(SEED)
    with Database(path) as database:
        for name in ("a", "b"):
            collection = database.create(name)
            collection.add(
                rng.normal(size=(60, D)),
                ids=[f"id{row}" for row in range(60)],
                texts=[f"text {row}" for row in range(60)],
                metadatas=[{"n": row, "deep": {"x": [row]}} for row in range(60)],
            )
            collection.delete(["id3", "id50"])
    return path


def flip(path, rng):
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path, rng):
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def garble(path, rng):
    data = bytearray(path.read_bytes())
    first = rng.randrange(len(data))
    data[first : first + 64] = rng.randbytes(64)
    path.write_bytes(data)


def replace(path, rng, secret):
    path.unlink()
    how = rng.choice(["nothing", "link", "folder", "pipe", "empty", "loop", "dangling"])
    if how == "link":
        path.symlink_to(secret)
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "empty":
        path.touch()
    elif how == "loop":
        path.symlink_to(path)
    elif how == "dangling":
        path.symlink_to(secret.with_name("made"))


def rewrite_values(path, kind, rng):
    """Change values, tables or the schema as SQL; pages get valid checksums."""
    connection = open_database(path, kind)
    tables = [r[0] for r in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
    table = rng.choice(tables)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()]
    what = rng.randrange(10)
    if what < 4:  # values that the table's types allow
        for _ in range(12):
            with suppress(apsw.Error):
                tail = rng.choice(["", " WHERE rowid = 1", " WHERE rowid % 7 = 2"])
                change = f"UPDATE {table} SET {rng.choice(columns)} = ?{tail}"
                connection.execute(change, (rng.choice(VALUES),)).fetchall()
                break
    elif what == 4:  # a table of the same name that takes any value
        connection.execute(f"CREATE TABLE loose AS SELECT * FROM {table}").fetchall()
        connection.execute(f"DROP TABLE {table}").fetchall()
        connection.execute(f"ALTER TABLE loose RENAME TO {table}").fetchall()
        for _ in range(rng.choice([1, 1, 3])):
            tail = rng.choice(["", " WHERE rowid = 1", " WHERE rowid % 7 = 2"])
            connection.execute(
                f"UPDATE {table} SET {rng.choice(columns)} = ?{tail}", (rng.choice(VALUES),)
            ).fetchall()
    elif what < 7:
        connection.execute(f"DELETE FROM {table}").fetchall()
    elif what == 7:
        connection.execute(f"DROP TABLE {table}").fetchall()
    elif what == 8:
        connection.execute(
            f"ALTER TABLE {table} RENAME COLUMN {rng.choice(columns)} TO z"
        ).fetchall()
    else:
        connection.execute(
            rng.choice(
                [
                    f"CREATE TRIGGER t AFTER INSERT ON {table} BEGIN DELETE FROM {table}; END",
                    f"ALTER TABLE {table} RENAME TO hidden;"
                    f"CREATE VIEW {table} AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1"
                    " FROM n) SELECT i FROM n",
                ]
            )
        ).fetchall()
    connection.close()


def mutate(path, rng, secret):
    files = sorted(f for f in path.rglob("*") if f.is_file() and not f.is_symlink())
    if rng.random() < 0.9:
        files = [f for f in files if not f.name.startswith("LOCK")]
    file = rng.choice(files)
    kind = rng.randrange(8)
    if kind == 0 and file.stat().st_size:
        flip(file, rng)
    elif kind == 1 and file.stat().st_size:
        cut(file, rng)
    elif kind == 2 and file.stat().st_size:
        garble(file, rng)
    elif kind == 3:
        replace(file, rng, secret)
    else:
        file = rng.choice([f for f in files if f.suffix == ".sqlite"] or files)
        with suppress(apsw.Error, M2MError, IndexError):  # an earlier change may be in the way
            rewrite_values(file, REGISTRY_KIND if file.name == "database.sqlite" else KIND, rng)


def attempts(path):
    """Yield everything that a user may do."""
    query = np.ones(D, np.float32)
    with Database(path) as database:
        yield database.verify
        for name in dict.fromkeys(["a", "b", *database.list()]):

            def opened(name=name):
                return database.open(name)

            yield lambda: opened().count()
            yield lambda: opened().stats()
            yield lambda: opened().search(query, 5)
            yield lambda: opened().search(query, 5, where={"n": {"$lt": 30}}, include_vectors=True)
            yield lambda: opened().get(include_vectors=True)
            yield lambda: list(opened())
            yield lambda: opened().ids({"deep.x": [5]})
            yield lambda: opened().distinct("n")
            yield lambda: opened().vectors_of_texts(["text 5"])
            yield lambda: list(opened().search_progressive(query, 3))
            yield lambda: opened().add([query], ids=["new"], texts=["new"])
            yield lambda: opened().upsert([query * 2], ids=["id5"])
            yield lambda: opened().update(["id7"], [{"more": 1}])
            yield lambda: opened().delete(["id9"])
            yield lambda: opened().verify()
            yield lambda: opened().compact()
            yield lambda: opened().flush()
        yield lambda: database.create("fresh", exist_ok=True)
        yield lambda: database.drop("fresh")
        yield lambda: database.backup(path.with_name("backup"))
        yield lambda: database.repair(drop_damaged=True)
        yield lambda: database.drop("b")
    with Database(path) as database:
        yield database.verify


def try_all(path):
    """Return how often our error was raised; any other error comes through."""
    n_refused = 0
    try:
        for attempt in attempts(path):
            try:
                attempt()
            except M2MError:
                n_refused += 1
    except M2MError:
        n_refused += 1
    return n_refused


def hanging(*_):
    raise TimeoutError(f"it hangs: no answer in {LIMIT_S} s")


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarm, nor pipes")
def test_hostile_folders_raise_our_error_at_worst(base, tmp_path, fault_table):
    assert try_all(shutil.copytree(base, tmp_path / "sound" / "db")) == 0
    shutil.rmtree(tmp_path / "sound")
    signal.signal(signal.SIGALRM, hanging)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 2000)
    n_refused = 0
    for trial in range(N_FOLDERS):
        rng = random.Random(f"{SEED}-{trial}")
        room = tmp_path / "room"
        path = shutil.copytree(base, room / "db")
        for _ in range(rng.choice([1, 1, 2, 3])):
            mutate(path, rng, secret)
        signal.alarm(LIMIT_S)
        try:
            n_refused += try_all(path) > 0
        except BaseException as error:
            raise AssertionError(f"trial {trial}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
        assert secret.read_bytes() == b"secret" * 2000
        assert sorted(item.name for item in tmp_path.iterdir()) == ["room", "secret"]
        assert {item.name for item in room.iterdir()} <= {"db", "backup"}
        shutil.rmtree(room)
    fault_table.add(
        "S5", "folders that an attacker made", N_FOLDERS, SEED,
        other_errors=0, hung=0, touched_outside=0, refused=n_refused,
    )  # fmt: skip
    assert n_refused > N_FOLDERS // 2
