"""Backups and restoring: whole or absent, beside writers, and never over anything."""

from __future__ import annotations

import os
import shutil
import threading

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, FormatError, InvalidInputError, M2MError, StorageError
from m2m_rag.storage.backing_up import plan_vectors
from m2m_rag.storage.vectors import Layout, VectorFile, disk

D = 8


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A database whose collection "c" has three vector files, two of them sealed."""
    monkeypatch.setattr(disk.DiskVectors.__init__, "__defaults__", (4096 + 4 * D * 100,))
    vectors = np.random.default_rng(1).normal(size=(250, D))
    with Database(tmp_path / "db") as database:
        ids = [f"id{row}" for row in range(250)]
        database.create("c").add(vectors, ids=ids, texts=ids)
        database.create("empty")
        database.open("c").delete(["id3"])
    assert len(list((tmp_path / "db").rglob("*.f32"))) == 3
    return tmp_path / "db"


def contents(path):
    with Database(path) as database:
        assert database.verify().findings == []
        return {
            name: [
                (*record[:5], record.vector.tobytes())
                for record in database.open(name).get(include_vectors=True)
            ]
            for name in database.list()
        }


def test_only_the_last_file_is_copied():
    files = [VectorFile(0, "1-0.f32", 0, 7), VectorFile(1, "1-1.f32", 7, 2)]
    assert plan_vectors(Layout(files, None), 4) == [("1-0.f32", None), ("1-1.f32", 4096 + 32)]
    assert plan_vectors(Layout([], None), 4) == []


def test_a_backup_holds_everything_and_opens(path, tmp_path):
    expected = contents(path)
    with Database(path) as database:
        report = database.backup(tmp_path / "backup")
        assert report.checked["records"] == 249
        database.open("c").add(np.ones((30, D)))
    assert contents(tmp_path / "backup") == expected
    assert len(expected["c"]) == 249
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backup", "db"]


def test_both_go_on_without_touching_each_other(path, tmp_path):
    """The sealed files are shared; what grows is not."""
    with Database(path) as database:
        database.backup(tmp_path / "backup")
    links = sorted(file.stat().st_nlink for file in (tmp_path / "backup").rglob("*.f32"))
    assert links == [1, 2, 2]
    expected = contents(path)
    for folder, value in ((path, 5.0), (tmp_path / "backup", 7.0), (path, 8.0)):
        with Database(folder) as database:
            database.open("c").add(np.full((80, D), value), ids=[f"{value}-{i}" for i in range(80)])
            database.open("c").delete(["id7"])
    assert len(contents(path)["c"]) == 408
    assert len(contents(tmp_path / "backup")["c"]) == 328
    with Database(path) as database:
        database.compact(erase=True)
    after = contents(tmp_path / "backup")["c"]
    assert [r for r in after if r[0].startswith("id")] == [
        r for r in expected["c"] if r[0] != "id7"
    ]
    assert {r[5] for r in after if r[0].startswith("7.0")} == {np.full(D, 7, "f4").tobytes()}


def test_restore_makes_a_new_database(path, tmp_path):
    expected = contents(path)
    with Database(path) as database:
        database.backup(tmp_path / "backup")
    with Database.restore(tmp_path / "backup", tmp_path / "again") as database:
        assert database.open("c").count() == 249
        database.open("c").add(np.ones((3, D)))
    assert contents(tmp_path / "backup") == expected
    with pytest.raises(StorageError, match="exists"):
        Database.restore(tmp_path / "backup", path)
    assert contents(path) == expected


def test_a_backup_is_made_beside_a_writer(path, tmp_path):
    errors, done = [], threading.Event()
    with Database(path) as database:
        collection = database.open("c")

        def write():
            try:
                step = 0
                while not done.is_set():
                    step += 1
                    ids = [f"{step}-{i}" for i in range(40)]
                    collection.add(np.full((40, D), step), ids=ids, metadatas=[{"n": step}] * 40)
                    if step % 4 == 0:
                        collection.delete(where={"n": step - 2})
                    if step % 6 == 0:
                        collection.compact()
                    if step % 9 == 0:
                        database.create("other", exist_ok=True).add(np.ones((1, 2)))
                        database.drop("other")
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        with Database(path, read_only=True) as reader:
            for trial in range(6):
                reader.backup(tmp_path / f"backup{trial}")
        done.set()
        thread.join()
        assert errors == []
    for trial in range(6):
        records = contents(tmp_path / f"backup{trial}")["c"]
        sizes = {}
        for record in records:
            step = record[2].get("n")
            sizes[step] = sizes.get(step, 0) + 1
            if step is not None:
                assert record[5] == np.full(D, step, "f4").tobytes()
        assert sizes.pop(None) == 249
        assert set(sizes.values()) <= {40}, "half a commit"


def test_nothing_is_overwritten(path, tmp_path):
    with Database(path) as database:
        for target in (path, tmp_path, path / "inside", path / "collections" / "x"):
            with pytest.raises(StorageError):
                database.backup(target)
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        with pytest.raises(StorageError, match="exists"):
            database.backup(tmp_path / "link")
        with pytest.raises(InvalidInputError):
            database.backup("")
    with Database.in_memory() as memory, pytest.raises(InvalidInputError, match="in memory"):
        memory.backup(tmp_path / "m")
    assert not (tmp_path / "nowhere").exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["db", "link"]


@pytest.mark.parametrize("pattern", ["1-0.f32", "1-2.f32", "catalog.sqlite", "database.sqlite"])
def test_what_is_damaged_is_neither_backed_up_nor_restored(path, tmp_path, pattern):
    with Database(path) as database:
        database.backup(tmp_path / "backup")
    for folder in (tmp_path / "backup", path):
        file = max(folder.rglob(pattern), key=lambda found: found.stat().st_size)
        data = bytearray(file.read_bytes())
        data[4096 + 60] ^= 1
        file.unlink()  # a sealed file is one with the backup's
        file.write_bytes(data)
    with pytest.raises(CorruptError):
        Database.restore(tmp_path / "backup", tmp_path / "again")
    with pytest.raises(CorruptError):
        with Database(path) as database:
            database.backup(tmp_path / "second")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backup", "db"]


def test_a_hostile_backup_is_refused(path, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with Database(path) as database:
        database.backup(tmp_path / "good")
    backup = tmp_path / "bad"

    def attacks():
        folder = next(f for f in (backup / "collections").iterdir() if (f / "vectors").exists())
        vectors = folder / "vectors" / "1-0.f32"
        yield lambda: (vectors.unlink(), vectors.symlink_to(secret))
        yield lambda: (vectors.unlink(), os.mkfifo(vectors))
        yield lambda: (backup / "extra").symlink_to("/")
        yield lambda: (
            (folder / "catalog.sqlite").unlink(),
            (folder / "catalog.sqlite").symlink_to(secret),
        )
        yield lambda: (
            shutil.move(folder, tmp_path / "moved"),
            folder.symlink_to(tmp_path / "moved"),
        )
        yield lambda: (folder / "catalog.sqlite").unlink()
        yield lambda: (backup / "database.sqlite").unlink()

    for number in range(7):
        shutil.rmtree(backup, ignore_errors=True)
        shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        shutil.copytree(tmp_path / "good", backup)
        list(attacks())[number]()
        with pytest.raises((FormatError, CorruptError)):
            Database.restore(backup, tmp_path / "again")
        assert not (tmp_path / "again").exists()
        assert not list(tmp_path.glob("again*"))
    with pytest.raises(FormatError, match="no backup"):
        Database.restore(tmp_path / "none", tmp_path / "again")
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("folder", ["../../outside", "/tmp/outside", "a" * 31, "..", "A" * 32, ""])
def test_a_registry_that_leads_elsewhere_is_refused(path, tmp_path, folder):
    with Database(path) as database:
        database.backup(tmp_path / "backup")
        database._registry.remove("empty", database._registry.folder_of("empty"))
        database._registry.add("evil", folder)
        with pytest.raises(CorruptError, match="no name of ours"):
            database.open("evil")
        assert not database.verify().is_sound
        with pytest.raises(CorruptError):
            database.backup(tmp_path / "second")
    with Database(tmp_path / "backup") as database:
        database._registry.add("evil", folder)
    with pytest.raises(M2MError):
        Database.restore(tmp_path / "backup", tmp_path / "again")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["backup", "db"]


def test_a_log_that_a_killed_process_left_is_restored(path, tmp_path):
    with Database(path) as database:
        database.open("c").add(np.ones((2, D)), ids=["late", "later"])
        for item in ("db",):
            shutil.copytree(tmp_path / item, tmp_path / "copy")  # as a kill would leave it
    assert any(file.stat().st_size for file in (tmp_path / "copy").rglob("catalog.sqlite-wal"))
    with Database.restore(tmp_path / "copy", tmp_path / "again") as database:
        assert len(database.open("c").get(["late", "later"])) == 2


def test_a_collection_that_is_dropped_meanwhile_is_left_out(path, tmp_path, monkeypatch):
    from m2m_rag.storage import backing_up

    copy = backing_up._back_up_collection
    with Database(path) as database:
        folder = database._registry.folder_of("empty")

        def dropped_first(source, name, target):
            if name == folder:
                database.drop("empty")
            copy(source, name, target)

        monkeypatch.setattr(backing_up, "_back_up_collection", dropped_first)
        database.backup(tmp_path / "backup")
    assert list(contents(tmp_path / "backup")) == ["c"]
