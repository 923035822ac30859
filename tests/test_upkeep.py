"""verify, repair, compact and flush: what is found, what is mended, and that nothing changes."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import numpy as np
import pytest

from m2m_rag import Database
from m2m_rag.errors import CorruptError, M2MError, ReadOnlyError, StorageError
from m2m_rag.storage import compacting, verifying
from m2m_rag.storage.registry import Registry

N, D = 3000, 16
"""More than two blocks of 64 KiB."""
MARK = "unmistakable"


@pytest.fixture
def vectors():
    return np.random.default_rng(5).normal(size=(N, D)).astype(np.float32)


def fill(collection, vectors):
    for first in range(0, N, 1000):
        rows = range(first, first + 1000)
        collection.add(
            vectors[first : first + 1000],
            ids=[f"id{row}" for row in rows],
            texts=[f"text {row}" if row % 5 else None for row in rows],
            metadatas=[{"row": row} for row in rows],
        )


@pytest.fixture
def path(tmp_path, vectors):
    with Database(tmp_path / "db") as database:
        fill(database.create("c", metric="l2"), vectors)
    return tmp_path / "db"


def answers(collection, vectors):
    """Everything that a user can see, the order of rows included."""
    records = [
        (*record[:5], record.vector.tobytes()) for record in collection.get(include_vectors=True)
    ]
    hits = collection.search(vectors[:20], 7, lod=2)
    filtered = collection.search(vectors[3], 9, where={"row": {"$lt": 500}})
    return records, hits, [(hit.id, hit.score) for hit in filtered]


def damage(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 16
    path.write_bytes(data)


def test_a_sound_database_is_sound(database, vectors):
    fill(database.create("c"), vectors)
    database.open("c").delete(["id5", "id7"])
    report = database.verify()
    assert report.is_sound
    assert report.findings == []
    assert report.checked["records"] == N - 2
    assert report.checked["texts"] == N - N // 5 - 1
    assert database.open("c").verify().is_sound
    if database.path is not None:
        assert report.checked["vector_blocks"] == 3
        assert database.repair().done == []


def test_damaged_vectors_are_found_and_dropped_only_when_asked(path, vectors):
    (file,) = path.rglob("*.f32")
    damage(file, 4096 + 4 * D * 1030)  # a row of the second block of 1024
    with Database(path) as database:
        collection = database.open("c")
        (finding,) = database.verify().findings
        assert finding.kind == "truth"
        assert "rows 1024 to 2047" in finding.problem
        assert finding.ids == tuple(f"id{row}" for row in range(1024, 2048))
        assert finding.place.endswith("vectors/1-0.f32")

        kept = collection.repair()
        assert kept.done == []
        assert [f.ids for f in kept.left] == [finding.ids]
        assert collection.count() == N
        with pytest.raises(CorruptError):
            collection.search(vectors[0])

        report = collection.repair(drop_damaged=True)
        assert report.dropped_ids == list(finding.ids)
        assert report.is_sound
        assert collection.count() == N - 1024
        assert collection.search(vectors[2100], 1)[0].id == "id2100"
        assert collection.search(vectors[1030], 1)[0].id != "id1030"
        collection.add(vectors[1030:1031], ids=["id1030"])
        assert collection.search(vectors[1030], 1)[0].id == "id1030"
    with Database(path) as database:
        assert database.verify().is_sound


def test_damage_to_dead_rows_alone_is_mended_without_a_loss(path, vectors):
    with Database(path) as database:
        database.open("c").delete([f"id{row}" for row in range(1024, 2048)])
    (file,) = path.rglob("*.f32")
    damage(file, 4096 + 4 * D * 1030)
    with Database(path) as database:
        collection = database.open("c")
        assert collection.verify().lost[0].ids == ()
        with pytest.raises(CorruptError):
            collection.search(vectors[0])
        report = database.repair()
        assert report.is_sound
        assert report.dropped_ids == []
        assert collection.count() == N - 1024
        assert collection.search(vectors[0], 1)[0].id == "id0"


@pytest.mark.parametrize("how", ["missing", "cut", "header"])
def test_a_vector_file_that_is_gone_concerns_all_its_rows(path, how):
    (file,) = path.rglob("*.f32")
    if how == "missing":
        file.unlink()
    elif how == "cut":
        file.write_bytes(file.read_bytes()[: 4096 + 4 * D * 1024 + 11])
    else:
        damage(file, 20)
    with Database(path) as database:
        (finding,) = database.verify().findings
        assert len(finding.ids) == (N - 1024 if how == "cut" else N)
        assert database.repair(drop_damaged=True).is_sound
        assert database.open("c").count() == N - len(finding.ids)


def test_a_damaged_catalog_is_told_and_not_touched(path):
    (catalog,) = path.rglob("catalog.sqlite")
    damage(catalog, catalog.stat().st_size // 2)
    before = catalog.read_bytes()
    with Database(path) as database:
        report = database.verify()
        assert [f.kind for f in report.findings] == ["truth"]
        assert report.findings[0].place.endswith("catalog.sqlite")
        repaired = database.repair(drop_damaged=True)
        assert not repaired.is_sound
        assert repaired.done == []
    assert catalog.read_bytes() == before


def test_wrong_counts_and_hashes_are_found(path):
    with Database(path) as database:
        collection = database.open("c")
        with collection._transaction() as transaction:
            transaction.connection.execute("UPDATE records SET text_hash = 1 WHERE id = 'id7'")
            transaction.connection.execute("DELETE FROM records WHERE id = 'id8'")
        problems = {finding.problem: finding.ids for finding in collection.verify().findings}
        assert problems.pop("a text does not match its hash") == ("id7",)
        assert problems.keys() == {
            "it counts 3000 records and holds 2999",
            "2999 records and 0 dead rows are not the 3000 rows counted",
            'the full-text index, table "words", does not cover the records',
        }


def test_leftovers_are_told_and_swept(path):
    (folder,) = (path / "collections").iterdir()
    orphan = path / "collections" / ("a" * 32)
    names = [
        folder / "vectors" / "1-1.f32",
        folder / "vectors" / "7-0.f32",
        folder / "index" / "9" / "12-ab.hrm2",
        folder / "catalog.sqlite.new",
        path / "database.sqlite.new",
        orphan / "catalog.sqlite.new",
    ]
    foreign = [folder / "notes.txt", path / "mine", folder / "vectors" / "readme"]
    for name in names + foreign:
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(b"x")
    with Database(path) as database:
        report = database.verify()
        assert report.is_sound
        kinds = {finding.place: finding.kind for finding in report.findings}
        for name in [*names[:5], orphan, folder / "index" / "9"]:
            assert kinds.pop(str(name.relative_to(path))) == "leftover"
        assert {path / place for place in kinds} == set(foreign)
        assert set(kinds.values()) == {"foreign"}

        left = database.repair().left
        assert {path / finding.place for finding in left} == set(foreign)
    assert not any(name.exists() for name in [*names, orphan, folder / "index" / "9"])
    assert all(name.exists() for name in foreign)


def test_a_collection_that_no_name_leads_to_gets_one(path):
    with Database(path) as database:
        folder = database._registry.folder_of("c")
        database._registry.remove("c", folder)
    with Database(path) as database:
        report = database.verify()
        assert not report.is_sound
        assert report.lost == []
        assert "3000 records" in report.findings[0].problem
        name = f"found-{folder[:8]}"
        assert database.repair().done == [
            f"named collections/{folder}, which nothing led to, {name!r}"
        ]
        assert database.verify().findings == []
        assert len(database.open(name)) == 3000


def test_a_collection_whose_new_name_is_taken_stays_as_it_is_and_is_told_of(path):
    with Database(path) as database:
        folder = database._registry.folder_of("c")
        database._registry.remove("c", folder)
        name = f"found-{folder[:8]}"
        database.create(name)
        report = database.repair()
        assert report.done == [
            f"collections/{folder}: left without a name, for another collection is {name!r}"
        ]
        assert "3000 records" in report.left[0].problem
        database.drop(name)
        database.repair()
        assert len(database.open(name)) == 3000


def test_a_collection_that_is_being_dropped_gets_no_new_name(path, monkeypatch):
    """Its name is gone before its catalog says so."""
    remove = Registry.remove
    with Database(path) as database:
        other = threading.Thread(target=database.repair)

        def remove_slowly(self, name, folder):
            remove(self, name, folder)
            other.start()
            other.join(0.5)

        monkeypatch.setattr(Registry, "remove", remove_slowly)
        database.drop("c")
        other.join()
        assert database.list() == []
        assert database.verify().findings == []


def test_a_collection_that_is_dropped_meanwhile_is_not_called_damaged(path, monkeypatch):
    verify = verifying.verify_collection
    with Database(path) as database:

        def verify_late(*given):
            if database.list():
                database.drop("c")
            return verify(*given)

        monkeypatch.setattr(verifying, "verify_collection", verify_late)
        assert database.verify().findings == []


def test_what_is_removed_is_told_once(path):
    with Database(path) as database:
        folder = database.path / "collections" / ("0" * 32)
        folder.mkdir()
        assert database.repair().done == [
            f"removed collections/{folder.name}, which nothing led to"
        ]


def test_a_damaged_index_is_removed(path, monkeypatch):
    (folder,) = (path / "collections").iterdir()
    bad = folder / "index" / "1" / "000000003000-abcdefabcdef.hrm2"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"no index at all")
    with Database(path) as database:
        (finding,) = database.verify().findings
        assert finding.kind == "derived"
        assert not database.verify().is_sound
        assert database.repair().is_sound
    assert not bad.exists()


def test_compact_keeps_every_answer(database, vectors):
    collection = database.create("c", metric="l2")
    fill(collection, vectors)
    collection.search(vectors[0])
    collection.delete([f"id{row}" for row in range(0, N, 3)])
    collection.upsert(vectors[10:12] * 2, ids=["id10", "id11"], texts=["ten", "eleven"])
    before = answers(collection, vectors)
    other = database.open("c")
    report = collection.compact()
    n_dead = len(range(0, N, 3)) + 2
    assert report.n_records == N - n_dead + 2
    assert report.n_removed == n_dead
    assert report.is_settled
    assert report.bytes_after < report.bytes_before
    for handle in (collection, other):
        assert answers(handle, vectors) == before
        assert handle.stats()["n_dead_rows"] == 0
    collection.add(vectors[:5], ids=[f"new{i}" for i in range(5)])
    collection.delete(["id1", "id4000"])
    assert collection.search(vectors[0], 1)[0].id == "new0"
    again = answers(collection, vectors)
    assert collection.compact().n_removed == 1
    assert answers(collection, vectors) == again
    assert collection.compact().n_removed == 0
    assert database.verify().findings == []
    if database.path is not None:
        with Database(database.path, read_only=True) as reader:
            assert answers(reader.open("c"), vectors) == again


def test_compact_of_what_is_empty(database, vectors):
    collection = database.create("c")
    assert collection.compact(erase=True).n_removed == 0
    collection.add(vectors[:5], ids=list("abcde"))
    collection.clear()
    assert collection.compact().n_removed == 5
    assert collection.search(vectors[0]) == []
    collection.add(vectors[:5], ids=list("abcde"))
    assert collection.search(vectors[4], 1)[0].id == "e"
    assert database.verify().findings == []


def test_a_reader_goes_on_with_the_state_that_it_began_with(path, vectors):
    with Database(path) as database, Database(path, read_only=True) as reader:
        collection, other = database.open("c"), reader.open("c")
        collection.delete([f"id{row}" for row in range(100)])
        records = iter(other)  # has not begun
        first = next(records)
        assert first.id == "id100"
        with other._snapshot() as snapshot:  # has not opened a vector file yet
            collection.delete([f"id{row}" for row in range(100, 200)])
            report = collection.compact()
            assert not report.is_settled
            assert report.n_removed == 200
            assert other._parts.store.vectors(snapshot, np.array([150])).tobytes() == (
                vectors[150].tobytes()
            )
            assert collection.search(vectors[250], 1)[0].id == "id250"
            with pytest.raises(StorageError, match="a reader of the state before"):
                collection.compact(erase=True)
        assert [record.id for record in records][:2] == ["id101", "id102"]
        assert other.ids()[0] == "id200"
        assert other.search(vectors[250], 1)[0].id == "id250"
        assert len(list(path.rglob("*.f32"))) == 3
        collection.flush()
        assert len(list(path.rglob("*.f32"))) == 1
        assert other.search(vectors[150], 1)[0].id != "id150"


def test_progressive_search_over_a_compaction(path, vectors):
    with Database(path) as database:
        collection = database.open("c")
        collection.delete([f"id{row}" for row in range(0, N, 2)])
        stages = collection.search_progressive(vectors[1], 5)
        expected = [hit.id for hit in collection.search(vectors[1], 5)]
        assert [hit.id for hit in next(stages).hits] == expected
        collection.compact()
        assert [[hit.id for hit in stage.hits] for stage in stages] == [expected, expected]


def test_compact_while_others_read_and_write(path, vectors):
    errors = []
    done = threading.Event()
    with Database(path) as database, Database(path, read_only=True) as second:
        collection = database.open("c")

        def read(handle):
            try:
                while not done.is_set():
                    for row in (2999, 2500, 2001):
                        assert handle.search(vectors[row], 1)[0].id == f"id{row}"
                    got = handle.get(["id2500"], include_vectors=True)[0]
                    assert got.vector.tobytes() == vectors[2500].tobytes()
            except BaseException as error:
                errors.append(error)

        def write():
            try:
                step = 0
                while not done.is_set():
                    collection.upsert(vectors[:3] * 9, ids=["a", "b", f"w{step}"])
                    step += 1
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=read, args=(h,)) for h in (collection, second.open("c"))]
        threads.append(threading.Thread(target=write))
        for thread in threads:
            thread.start()
        for step in range(8):
            collection.delete([f"id{row}" for row in range(step * 50, step * 50 + 50)])
            collection.compact()
        done.set()
        for thread in threads:
            thread.join()
        assert errors == []
        collection.flush()
        assert database.verify().findings == []
        assert len(collection) == len(set(collection.ids()))


def traces(path, needles):
    return [
        (file.name, needle[:30])
        for file in path.rglob("*")
        if file.is_file()
        for needle in needles
        if needle in file.read_bytes()
    ]


def test_erase_leaves_no_byte_of_what_was_deleted(path, vectors, fault_table):
    rng = np.random.default_rng(9)
    secret = rng.normal(size=(100, D)).astype(np.float32)
    texts = [f"{MARK} text {i} " + "tail " * (400 if i % 3 else 1) for i in range(100)]
    needles = [row.tobytes() for row in secret]
    for i in range(100):
        needles += [
            f"{MARK}-id-{i}.".encode(),
            f"{MARK} text {i} ".encode(),
            f"{MARK}meta{i}.".encode(),
        ]
    with Database(path) as database:
        collection = database.open("c")
        ids = [f"{MARK}-id-{i}." for i in range(100)]
        metadatas = [{"key": f"{MARK}meta{i}."} for i in range(100)]
        collection.add(secret, ids=ids, texts=texts, metadatas=metadatas)
        assert len(traces(path, needles)) >= len(needles)
        collection.update(ids[:10], [{"key": "other"}] * 10)
        collection.delete(ids)
        assert traces(path, needles), "the test can fail: before, there are traces"
        before = answers(collection, vectors)
        collection.compact(erase=True)
        assert traces(path, needles) == []
        assert answers(collection, vectors) == before
    assert traces(path, needles) == []
    fault_table.add("F16", "records erased", 100, 9, strings_sought=len(needles), found=0)


def test_erasing_waits_for_another_flush(path):
    """SQLite refuses a checkpoint beside another at once; nobody reads."""
    is_over, errors = threading.Event(), []

    def flush():
        try:
            while not is_over.is_set():
                database.flush()
        except BaseException as error:
            errors.append(error)

    with Database(path) as database:
        collection = database.open("c")
        thread = threading.Thread(target=flush)
        thread.start()
        try:
            for row in range(15):
                collection.delete([f"id{row}"])
                assert collection.compact(erase=True).is_settled
        finally:
            is_over.set()
            thread.join()
        assert errors == []


def test_a_flush_sweeps_nothing_that_a_later_reader_needs(path, vectors, monkeypatch):
    """Between its two steps a reader begins, and another thread compacts."""
    checkpoint, done = compacting.checkpoint, []

    def checkpoint_then_others(*arguments):
        result = checkpoint(*arguments)
        if not done:
            done.append(snapshot.enter_context(reader.open("c")._snapshot()))
            thread = threading.Thread(target=database.open("c").compact)
            thread.start()
            thread.join()
        return result

    with Database(path) as database, Database(path, read_only=True) as reader:
        database.open("c").delete(["id0"])
        with ExitStack() as snapshot:
            monkeypatch.setattr(compacting, "checkpoint", checkpoint_then_others)
            database.flush()
            old = reader.open("c")._parts.store.vectors(done[0], np.array([2999]))
            assert old.tobytes() == vectors[2999].tobytes()
        database.flush()
        assert len(list(path.rglob("*.f32"))) == 1


def test_flush_empties_the_log(path):
    with Database(path) as database:
        collection = database.open("c")
        collection.add(np.ones((5, D)))
        (log,) = (path / "collections").rglob("catalog.sqlite-wal")
        assert log.stat().st_size > 0
        database.flush()
        assert log.stat().st_size == 0
        with Database(path, read_only=True) as reader:
            for call in (reader.flush, reader.open("c").compact, reader.repair):
                with pytest.raises(ReadOnlyError):
                    call()
            assert reader.verify().is_sound


def test_a_compaction_that_fails_changes_nothing(path, vectors, monkeypatch):
    from m2m_rag.storage.vectors import DiskVectors

    with Database(path) as database:
        collection = database.open("c")
        collection.delete(["id0"])
        before = answers(collection, vectors)
        append = DiskVectors.append

        def full(self, layout, batch):
            append(self, layout, batch)
            raise StorageError("the disk is full")

        monkeypatch.setattr(DiskVectors, "append", full)
        with pytest.raises(StorageError, match="the disk is full"):
            collection.compact()
        monkeypatch.undo()
        assert answers(collection, vectors) == before
        assert [file.name for file in path.rglob("*.f32")] == ["1-0.f32"]
        assert collection.compact().n_removed == 1
        assert answers(collection, vectors) == before


def test_what_is_closed_or_dropped_says_so(path):
    with Database(path) as database:
        collection = database.open("c")
        database.drop("c")
        for call in (collection.verify, collection.repair, collection.compact, collection.flush):
            with pytest.raises(M2MError, match="dropped"):
                call()
    with pytest.raises(M2MError, match="closed"):
        database.verify()


def test_the_catalog_shrinks(path, vectors):
    (catalog,) = path.rglob("catalog.sqlite")
    with Database(path) as database:
        collection = database.open("c")
        database.flush()
        n_bytes = catalog.stat().st_size
        collection.delete([f"id{row}" for row in range(100, N)])
        collection.compact()
        assert catalog.stat().st_size < n_bytes / 4
        assert catalog.read_bytes()[20] == 8, "the pages keep their checksums"
        assert collection.search(vectors[99], 1)[0].id == "id99"
