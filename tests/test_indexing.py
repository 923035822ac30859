"""A collection's index in the background: it appears, grows, is saved, and never hides a record."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from clustered_data import best, clustered, recall

from m2m_rag import Database, _indexing
from m2m_rag._indexing import INDEX_FROM
from m2m_rag.errors import InvalidInputError, RecordNotFoundError
from m2m_rag.storage.plain import INDEX_FOLDER

N, D = INDEX_FROM + 1500, 32


@pytest.fixture(scope="module")
def data():
    vectors = clustered(N + 100, D, seed=4)
    return vectors[:N], vectors[N:]


def ids(first, last):
    return [str(row) for row in range(first, last)]


def found(collection, queries, k=10, **how):
    return [
        np.array([int(hit.id) for hit in hits]) for hits in collection.search(queries, k, **how)
    ]


def test_small_collections_stay_exact(database, data):
    collection = database.create("c")
    collection.add(data[0][:1000], ids=ids(0, 1000))
    assert collection.wait_for_index()
    assert collection.stats()["index"] == {"kind": "flat"}


def test_the_index_appears_and_answers_stay_right(database, data):
    vectors, queries = data
    collection = database.create("c")
    for first in range(0, N, 500):
        collection.add(vectors[first : first + 500], ids=ids(first, min(first + 500, N)))
        last = min(first + 500, N) - 1
        assert collection.search(vectors[last], 1)[0].id == str(last)
    assert collection.wait_for_index()
    stats = collection.stats()["index"]
    assert stats["kind"] == "hrm2"
    assert N - stats["n_indexed"] < 64
    truth = [best(query, vectors, np.ones(N, bool), 10, "cosine") for query in queries]
    for how in ({"lod": 2}, {"recall": 1.0}):
        assert [r.tolist() for r in found(collection, queries, **how)] == [
            t.tolist() for t in truth
        ]
    assert recall(found(collection, queries), truth) > 0.95
    assert recall(found(collection, queries, recall=0.9), truth) > 0.85
    assert len(found(collection, queries[:1], lod=0)[0]) == 10


def test_writes_are_seen_at_once(database, data):
    vectors, _ = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N))
    collection.wait_for_index()
    collection.add(vectors[:3] * 2.0, ids=["n0", "n1", "n2"])
    assert {hit.id for hit in collection.search(vectors[1], 2)} == {"1", "n1"}
    collection.delete(["1", "n1"])
    assert not {hit.id for hit in collection.search(vectors[1], 20)} & {"1", "n1"}
    collection.upsert([vectors[7]], ids=["0"])
    assert "0" in {hit.id for hit in collection.search(vectors[7], 2)}
    collection.delete(ids(100, 3000))
    assert collection.wait_for_index()
    assert collection.stats()["index"]["n_codes"] < N - 2500
    assert all(
        int(hit.id) >= 3000 or int(hit.id) < 100 for hit in collection.search(vectors[200], 50)
    )


def test_filters(database, data):
    vectors, queries = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N), metadatas=[{"n": row} for row in range(N)])
    collection.wait_for_index()
    for step in (2, 100, 2000):
        allowed = np.arange(N) % step == 0
        chosen = {"n": {"$in": np.flatnonzero(allowed).tolist()}}
        hits = found(collection, queries[:20], where=chosen)
        truth = [best(query, vectors, allowed, 10, "cosine") for query in queries[:20]]
        assert [len(h) for h in hits] == [len(t) for t in truth]
        assert recall(hits, truth) > 0.9


def test_a_snapshot_serves_the_next_process(data, tmp_path):
    vectors, queries = data
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(vectors, ids=ids(0, N))
        collection.wait_for_index()
        before = found(collection, queries)
    files = list((tmp_path / "db").rglob(f"{INDEX_FOLDER}/*/*.hrm2"))
    assert len(files) == 1
    with Database(tmp_path / "db", read_only=True) as database:
        collection = database.open("c")
        collection.search(queries[0])
        assert collection.stats()["index"]["kind"] == "hrm2", "loaded, not built"
        assert [r.tolist() for r in found(collection, queries)] == [r.tolist() for r in before]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_snapshot_is_built_again(data, tmp_path, damage):
    vectors, queries = data
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(vectors, ids=ids(0, N))
        collection.wait_for_index()
    file = next((tmp_path / "db").rglob("*.hrm2"))
    if damage == "gone":
        file.unlink()
    else:
        good = bytearray(file.read_bytes())
        good[len(good) // 2] ^= 8
        file.write_bytes(good if damage == "flip" else good[: len(good) // 3])
    truth = [best(query, vectors, np.ones(N, bool), 10, "cosine") for query in queries]
    with Database(tmp_path / "db") as database:
        collection = database.open("c")
        assert recall(found(collection, queries), truth) > 0.95
        assert collection.wait_for_index()
        assert collection.stats()["index"]["kind"] == "hrm2"
        assert recall(found(collection, queries), truth) > 0.95


def test_closing_ends_a_build(data, tmp_path):
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(data[0], ids=ids(0, N))
        building = collection._parts.indexer._thread
        assert building.is_alive()
    assert not building.is_alive()
    with Database(tmp_path / "db") as database:
        assert len(found(database.open("c"), data[1])) == 100


def test_searches_and_writes_while_it_grows(database, data):
    """Threads search, add and delete; no answer lacks what was acknowledged before it."""
    vectors, queries = data
    collection = database.create("c")
    collection.add(vectors[:INDEX_FROM], ids=ids(0, INDEX_FROM))
    errors = []

    def search():
        try:
            for _ in range(30):
                for rows in found(collection, queries[:10]):
                    assert len(set(rows.tolist())) == 10
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for first in range(INDEX_FROM, N, 100):
        collection.add(vectors[first : first + 100], ids=ids(first, first + 100))
        assert collection.search(vectors[first], 1)[0].id == str(first)
        collection.delete([str(first)])
        assert collection.search(vectors[first], 1)[0].id != str(first)
    for thread in threads:
        thread.join()
    assert errors == []
    assert collection.wait_for_index()


def test_progressive_search(database, data):
    vectors, queries = data
    collection = database.create("c")
    assert list(collection.search_progressive(queries[0])) == []
    collection.add(vectors, ids=ids(0, N))
    collection.wait_for_index()
    stages = list(collection.search_progressive(queries[0], 5))
    assert [stage.lod for stage in stages] == [0, 1, 2]
    truth = best(queries[0], vectors, np.ones(N, bool), 5, "cosine")
    assert [int(hit.id) for hit in stages[2].hits] == truth.tolist()
    assert stages[2].recall == 1.0
    assert 0.9 < stages[1].recall <= 1.0
    with pytest.raises(InvalidInputError, match="one query"):
        next(collection.search_progressive(queries[:2]))


def test_explain(database, data):
    vectors, queries = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N), metadatas=[{"odd": row % 2} for row in range(N)])
    flat = Database.in_memory()
    small = flat.create("s")
    small.add(vectors[:10], ids=ids(0, 10))
    assert small.explain(vectors[0], 3).way == "flat"
    flat.close()
    collection.wait_for_index()
    truth = best(queries[0], vectors, np.ones(N, bool), N, "cosine")
    told = collection.explain(queries[0], 10, id=str(truth[0]), recall=0.9)
    assert told.way == "probe"
    assert told.work.codes > 0
    assert told.bytes_read["vectors"] == 4 * D * told.work.vectors
    assert told.why.startswith("returned: number 1 of 10")
    assert 1 <= len(told.clusters) == told.work.clusters <= told.n_probe
    assert "does not pass" in collection.explain(queries[0], 10, id=str(truth[-1])).why
    excluded = collection.explain(
        queries[0], 10, id=str(truth[0]), where={"odd": 1 - int(truth[0]) % 2}
    )
    assert "filter" in excluded.why
    missed = [
        told.why
        for query in queries
        for row in best(query, vectors, np.ones(N, bool), 10, "cosine")
        if "not returned" in (told := collection.explain(query, 10, id=str(row), n_probe=1)).why
    ]
    assert missed
    assert all("cluster" in why for why in missed)
    with pytest.raises(RecordNotFoundError):
        collection.explain(queries[0], id="nobody")


@pytest.mark.parametrize(
    "how",
    [
        {"recall": 0.0}, {"recall": 1.1}, {"recall": "high"}, {"recall": True},
        {"recall": float("nan")},
        {"lod": 3}, {"lod": True}, {"lod": "1"}, {"n_probe": 0}, {"n_probe": 1.5},
    ],
)  # fmt: skip
def test_bad_input_is_named(database, data, how):
    collection = database.create("c")
    collection.add(data[0][:5])
    with pytest.raises(InvalidInputError, match=next(iter(how))):
        collection.search(data[1][0], **how)


def test_real_queries_calibrate(database, data):
    """Queries unlike the members move the calibration."""
    vectors, _ = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N))
    collection.wait_for_index()
    assert collection.stats()["index"]["measured_on"] == "stand-ins"
    strange = np.random.default_rng(0).normal(size=(300, D)).astype(np.float32)
    for query in strange[:200]:
        collection.search(query, recall=0.9)
    assert collection.wait_for_index()
    assert collection.stats()["index"]["measured_on"] == "queries"
    truth = [best(query, vectors, np.ones(N, bool), 10, "cosine") for query in strange[200:]]
    assert recall(found(collection, strange[200:], recall=0.9), truth) > 0.86


def test_the_index_waits_for_a_pause_or_a_search(database, data, monkeypatch):
    monkeypatch.setattr(_indexing, "PAUSE_S", 1.0)
    monkeypatch.setattr(_indexing, "PATIENCE_S", 1000.0)
    vectors, queries = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N))
    state = collection._parts.indexer.index
    for _ in range(15):
        collection.update(["0"], [{"n": 1}])
        time.sleep(0.1)
        assert state.state is None
    collection.search(queries[0])
    collection._parts.indexer.wait(60)
    assert state.state is not None


def test_the_index_waits_no_longer_than_its_patience(database, data, monkeypatch):
    monkeypatch.setattr(_indexing, "PAUSE_S", 1000.0)
    monkeypatch.setattr(_indexing, "PATIENCE_S", 0.3)
    collection = database.create("c")
    collection.add(data[0], ids=ids(0, N))
    collection._parts.indexer.wait(60)
    assert collection._parts.indexer.index.state is not None


def test_closing_does_not_wait_for_a_pause(database, data, monkeypatch):
    monkeypatch.setattr(_indexing, "PAUSE_S", 4.0)
    collection = database.create("c")
    collection.add(data[0], ids=ids(0, N))
    began = time.monotonic()
    database.close()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("more", [INDEX_FROM - 100, INDEX_FROM + 200])
def test_what_doubles_the_index_is_built_not_inserted(database, more):
    vectors = clustered(INDEX_FROM + more, D, seed=6)
    collection = database.create("c")
    collection.add(vectors[:INDEX_FROM], ids=ids(0, INDEX_FROM))
    assert collection.wait_for_index(60)
    collection.add(vectors[INDEX_FROM:], ids=ids(INDEX_FROM, INDEX_FROM + more))
    assert collection.wait_for_index(60)
    state = collection._parts.indexer.index.state
    assert state.n_built == INDEX_FROM + (more if more > INDEX_FROM else 0)
    assert INDEX_FROM + more - state.n_indexed < 64


def test_the_thread_comes_to_rest_after_many_deletes(data, tmp_path):
    vectors, queries = data
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(vectors, ids=ids(0, N))
        assert collection.wait_for_index(60)
        for first, last in ((0, 4000), (4000, 4300)):
            collection.delete(ids(first, last))
            assert collection.wait_for_index(60)
        for query in np.concatenate([queries, vectors[:40]]):
            collection.search(query)
        assert collection.wait_for_index(60), "measuring on real queries must end"


def test_an_emptied_collection_fills_again(database, data):
    vectors, _ = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N))
    collection.wait_for_index()
    collection.clear()
    assert collection.wait_for_index()
    assert collection.search(vectors[0]) == []
    collection.stats()
    collection.add(vectors[:20], ids=ids(0, 20))
    assert collection.search(vectors[3], 1)[0].id == "3"
    collection.add(vectors[20:], ids=ids(20, N))
    assert collection.wait_for_index()
    assert [hit.id for hit in collection.search(vectors[3000], 1)] == ["3000"]


def test_compaction_begins_a_new_index(database, data):
    """No answer is taken from the index of rows that have other numbers now."""
    vectors, queries = data
    collection = database.create("c")
    collection.add(vectors, ids=ids(0, N))
    assert collection.wait_for_index()
    collection.delete(ids(0, 1000))
    assert collection.wait_for_index()
    alive = np.arange(N) >= 1000
    truth = [best(query, vectors, alive, 10, "cosine") for query in queries]
    stages = collection.search_progressive(queries[0])
    assert next(stages).lod == 0
    collection.compact(erase=True)
    assert [hit.id for hit in list(stages)[-1].hits] == [str(row) for row in truth[0]]
    assert [r.tolist() for r in found(collection, queries)] == [t.tolist() for t in truth]
    assert collection.wait_for_index()
    stats = collection.stats()["index"]
    assert (stats["kind"], stats["n_codes"]) == ("hrm2", N - 1000)
    assert recall(found(collection, queries), truth) > 0.95
    assert [r.tolist() for r in found(collection, queries, lod=2)] == [t.tolist() for t in truth]
    if database.path is not None:
        database.flush()
        (snapshot,) = database.path.rglob("*.hrm2")
        assert snapshot.parent.name == "2"
        assert database.verify().findings == []
        assert database.verify().checked["index_files"] == 1
        with Database(database.path, read_only=True) as reader:
            assert recall(found(reader.open("c"), queries), truth) > 0.95
            assert reader.open("c").stats()["index"]["kind"] == "hrm2"


def test_a_backup_brings_the_index(data, tmp_path):
    vectors, queries = data
    with Database(tmp_path / "db") as database:
        collection = database.create("c")
        collection.add(vectors, ids=ids(0, N))
        assert collection.wait_for_index()
        before = [r.tolist() for r in found(collection, queries)]
        database.backup(tmp_path / "backup")
    with Database.restore(tmp_path / "backup", tmp_path / "again") as database:
        collection = database.open("c")
        collection.search(queries[0])
        assert collection.stats()["index"]["kind"] == "hrm2", "loaded, not built"
        assert [r.tolist() for r in found(collection, queries)] == before


def test_a_write_whose_index_cannot_be_tended_is_stored(database, data, monkeypatch):
    monkeypatch.setenv("M2M_BACKEND", "no such backend")
    collection = database.create("c")
    collection.add(data[0], ids=ids(0, N))
    assert collection.count() == N
    with pytest.raises(InvalidInputError, match="no such backend"):
        collection.search(data[1][0], 1)


def test_waiting_tells_that_a_build_failed(database, data, monkeypatch):
    def fails(*arguments):
        raise MemoryError

    monkeypatch.setattr(_indexing.HRM2Index, "build", fails)
    collection = database.create("c")
    collection.add(data[0], ids=ids(0, N))
    assert collection.wait_for_index() is False
    assert collection.stats()["index"] == {"kind": "flat"}
    assert len(collection.search(data[1][0], 3)) == 3


def test_waiting_waits_for_what_came_while_the_thread_ended(database, data, monkeypatch):
    collection = database.create("c")
    step = _indexing.Indexer._step

    def late(self):
        goes_on = step(self)
        if not goes_on and collection.count() == N - 1000:
            collection.add(data[0][N - 1000 :], ids=ids(N - 1000, N))  # the thread still runs
        return goes_on

    monkeypatch.setattr(_indexing.Indexer, "_step", late)
    collection.add(data[0][: N - 1000], ids=ids(0, N - 1000))
    assert collection.wait_for_index()
    assert collection.wait_for_index()
    indexed = collection.stats()["index"]["n_indexed"]
    assert N - indexed < _indexing.GROUP


def test_what_came_and_went_before_the_index_looked(database, data, monkeypatch):
    collection = database.create("c")
    collection.add(data[0], ids=ids(0, N))
    assert collection.wait_for_index()
    monkeypatch.setattr(_indexing, "PAUSE_S", 0.5)
    rows = np.tile(data[0], (2, 1))
    collection.add(rows, ids=ids(N, N + len(rows)))
    collection.delete(collection.ids())
    assert collection.wait_for_index(20)
    assert collection.count() == 0
    collection.add(data[0], ids=ids(0, N))
    assert collection.wait_for_index()
    assert [hit.id for hit in collection.search(data[0][7], 1)] == ["7"]
