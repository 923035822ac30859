"""``m2m doctor PATH``, ``m2m backup``, ``m2m restore``, ``m2m compact``."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from m2m_rag import Database
from m2m_rag.cli.app import app
from m2m_rag.errors import StorageError


@pytest.fixture
def m2m(tmp_path, monkeypatch):
    """Run ``m2m`` in a folder that holds the database ``db``."""
    monkeypatch.chdir(tmp_path)
    with Database("db") as database:
        collection = database.create("notes")
        rows = [[float(i + 1), 1.0] for i in range(20)]
        collection.add(rows, ids=[f"id{i}" for i in range(20)], texts=["text"] * 20)
        collection.delete(["id3"])
    runner = CliRunner(env={"COLUMNS": "200"})

    def run(*arguments, code=0):
        result = runner.invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    return run


def damage(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(data)


def test_a_sound_folder(m2m):
    said = m2m("doctor", "db")
    assert "db: checked 1 collections, 1 catalogs, 19 records, 19 texts, 1 vector files" in said
    assert "Everything is as it was committed." in said
    report = json.loads(m2m("doctor", "db", "--json"))
    assert report["is_sound"] is True
    assert report["checked"]["records"] == 19
    assert report["findings"] == report["done"] == []


def test_damaged_vectors(m2m, tmp_path):
    (file,) = (tmp_path / "db").rglob("*.f32")
    damage(file, 4096 + 8)
    said = m2m("doctor", "db", code=1)
    assert "DAMAGED: collections/" in said
    assert "rows 0 to 19 do not match their checksum" in said
    assert "concerns 19 records: 'id0', 'id1', 'id2', …" in said
    assert "Lost: what is stored of 19 records cannot be trusted." in said
    assert "m2m restore BACKUP NEW_PATH" in said
    assert "m2m doctor db --repair --drop-damaged" in said
    assert m2m("doctor", "db", "--repair", code=1).count("DAMAGED") == 1
    said = m2m("doctor", "db", "--repair", "--drop-damaged")
    assert "repaired: notes: deleted 19 records that were damaged" in said
    assert "Everything is as it was committed." in said


def test_a_derived_file_is_no_loss(m2m, tmp_path):
    (folder,) = (tmp_path / "db" / "collections").iterdir()
    (folder / "index" / "1").mkdir(parents=True)
    (folder / "index" / "1" / "12-ab.hrm2").write_bytes(b"x")
    (folder / "vectors" / "9-0.f32").write_bytes(b"x")
    (folder / "notes.txt").write_text("mine")
    said = m2m("doctor", "db", code=1)
    assert "damaged, but can be made again: collections/" in said
    assert "left over: collections/" in said
    assert "not ours: collections/" in said
    assert "Nothing is lost." in said
    assert "m2m doctor db --repair makes indexes again" in said
    said = m2m("doctor", "db", "--repair")
    assert "built again when it is needed" in said
    assert "Nothing is lost." in said
    assert (folder / "notes.txt").exists()
    assert not (folder / "vectors" / "9-0.f32").exists()


@pytest.mark.parametrize("name", ["database.sqlite", "catalog.sqlite"])
@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_a_folder_that_cannot_be_opened_is_explained(m2m, tmp_path, name, how):
    (file,) = (tmp_path / "db").rglob(name)
    if how == "missing":
        file.unlink()
    else:
        damage(file, file.stat().st_size // 2)
        damage(file, 200)
    for options in ([], ["--repair"], ["--repair", "--drop-damaged"]):
        said = m2m("doctor", "db", *options, code=1)
        assert f"DAMAGED: {file.relative_to(tmp_path / 'db').as_posix()}" in said
        assert "Lost: what the damaged files held" in said
        assert "Next: restore a backup" in said
    assert json.loads(m2m("doctor", "db", "--json", code=1))["is_sound"] is False


def test_what_is_no_database(m2m, tmp_path):
    (tmp_path / "folder").mkdir()
    for path in ("folder", "missing"):
        assert "is not a database of m2m_rag" in m2m("doctor", path, code=5)
    assert not (tmp_path / "missing").exists()


def test_backup_and_restore(m2m):
    said = m2m("backup", "saved", "--db", "db")
    assert "saved: 1 collections, 19 records" in said
    assert "exists" in m2m("backup", "saved", "--db", "db", code=1)
    m2m("collections", "--db", "saved")
    said = m2m("restore", "saved", "again")
    assert "again: 1 collections, 19 records, verified" in said
    assert "exists" in m2m("restore", "saved", "again", code=1)
    assert "no backup" in m2m("restore", "folder", "other", code=5)
    assert "Everything" in m2m("doctor", "again")


def test_compact(m2m):
    assert "notes: 19 records, 1 dead rows removed" in m2m("compact", "--db", "db")
    assert "notes: 19 records, 0 dead" in m2m("compact", "--db", "db", "-c", "notes", "--erase")
    m2m("compact", "--db", "db", "-c", "other", code=3)


def test_a_mistyped_database_is_not_made(m2m, tmp_path):
    for command in ("compact", "info", "collections", "backup saved", "search x"):
        said = m2m(*command.split(), "--db", "b d", code=5)
        assert "b d is not a database of m2m_rag. Check the path" in said
        assert "m2m ingest DOCUMENTS --db 'b d'" in said
        assert "read_only" not in said
    assert [item.name for item in tmp_path.iterdir()] == ["db"]


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_a_path_that_is_no_unicode_is_a_bad_argument(m2m, tmp_path):
    path = os.fsdecode(b"caf\xe9")
    for command in (["doctor", path], ["backup", path, "--db", "db"], ["restore", path, "again"]):
        assert "is not UTF-8" in m2m(*command, code=2)
    for command in ("collections", "info", "compact", "backup saved", "search x", "ingest db"):
        assert r"caf\udce9' is not UTF-8" in m2m(*command.split(), "--db", path, code=2)
    assert [item.name for item in tmp_path.iterdir()] == ["db"]


def test_what_could_not_be_repaired_is_no_success(m2m, tmp_path, monkeypatch):
    hold = "import sys; from m2m_rag import Database; d = Database('db'); d.flush(); "
    hold += "print('holding', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "holding\n"
        assert f"process {holder.pid} on" in m2m("doctor", "db", "--repair", code=4)
        holder.communicate("")

    def fails(self, *, drop_damaged):
        raise StorageError("the disk is full")

    monkeypatch.setattr(Database, "repair", fails)
    assert "not repaired: the disk is full" in m2m("doctor", "db", "--repair", code=1)
