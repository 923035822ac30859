"""Many threads on one collection: each call equals what a serial run of it gives."""

from __future__ import annotations

import threading
import time

import numpy as np
import oracle
import pytest
from fault_sizes import size

from m2m_rag import Database

N_THREADS = 16
N_CALLS = size(40, 1000)
D = 4
SEED = 2026
KINDS = [
    "add", "upsert", "update", "delete",
    "search", "by words", "diverse", "facets", "get", "iterate",
]  # fmt: skip


class Serial:
    """What one thread's records must be: a dictionary, searched by brute force."""

    def __init__(self) -> None:
        self.records = {}

    def write(self, ids, vectors, metadata):
        for id_, vector in zip(ids, vectors, strict=True):
            self.records.pop(id_, None)
            self.records[id_] = (vector, metadata)

    def search(self, query, k):
        ids = list(self.records)
        vectors = [self.records[id_][0].tolist() for id_ in ids]
        return [ids[row] for row, _ in oracle.top_k(query.tolist(), vectors, k, "l2")]


def mixed_calls(collection, thread, n_calls, waits):
    """Make random calls about this thread's own records; compare each answer."""
    rng = np.random.default_rng([SEED, thread])
    serial = Serial()
    mine, word = {"thread": thread}, f"word{thread}"
    for step in range(n_calls):
        kind = rng.choice(KINDS)
        known = list(serial.records)
        began = time.perf_counter()
        if kind in ("add", "upsert") or not known:
            vectors = rng.normal(size=(int(rng.integers(1, 6)), D)).astype(np.float32)
            ids = [f"{thread}-{step}-{i}" for i in range(len(vectors))]
            columns = {"ids": ids, "metadatas": [mine] * len(ids), "texts": [word] * len(ids)}
            if kind == "upsert" and known:
                ids[0] = str(rng.choice(known))
                report = collection.upsert(vectors, **columns)
                assert (report.added, report.updated) == (len(ids) - 1, 1)
            else:
                assert collection.add(vectors, **columns) == ids
            serial.write(ids, vectors, mine)
        elif kind == "update":
            id_ = str(rng.choice(known))
            assert collection.update([id_], [{"step": step}]) == 1
            vector, metadata = serial.records[id_]
            serial.records[id_] = (vector, metadata | {"step": step})
        elif kind == "delete":
            gone = [str(id_) for id_ in rng.choice(known, size=min(2, len(known)), replace=False)]
            assert collection.delete(gone) == len(gone)
            for id_ in gone:
                del serial.records[id_]
        elif kind == "search":
            query = rng.normal(size=D).astype(np.float32)
            found = collection.search(query, 5, where=mine)
            assert [hit.id for hit in found] == serial.search(query, 5)
        elif kind == "by words":
            hits = collection.search(text=f"{word} nothing", k=10_000)
            assert sorted(hit.id for hit in hits) == sorted(known)
        elif kind == "diverse":
            query = rng.normal(size=D).astype(np.float32)
            hits = collection.search_mmr(query, 3, fetch_k=5, where=mine)
            found = {hit.id for hit in hits}
            assert len(hits) == len(found) == min(3, len(known))
            assert found <= set(serial.search(query, 5))
        elif kind == "facets":
            assert collection.facets("thread", mine) == [(thread, len(known))]
        elif kind == "get":
            records = collection.get(where=mine, include_vectors=True)
            assert [record.id for record in records] == known
            for record in records:
                vector, metadata = serial.records[record.id]
                assert np.array_equal(record.vector, vector)
                assert record.metadata == metadata
        else:
            ids = [record.id for record in collection if record.metadata["thread"] == thread]
            assert ids == known
        if kind in ("add", "upsert", "update", "delete"):
            waits.append(time.perf_counter() - began)
    return serial


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_sixteen_threads_of_mixed_calls_equal_a_serial_run(tmp_path, fault_table, where):
    made = Database.in_memory() if where == "memory" else Database(tmp_path / "db")
    serials, errors, waits = {}, [], []
    with made as database:
        collection = database.create("c", D, "l2")

        def work(thread):
            try:
                serials[thread] = mixed_calls(collection, thread, N_CALLS, waits)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(N_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        expected = {
            id_: found for serial in serials.values() for id_, found in serial.records.items()
        }
        records = collection.get(include_vectors=True)
        assert {record.id: record.metadata for record in records} == {
            id_: metadata for id_, (_, metadata) in expected.items()
        }
        assert all(np.array_equal(record.vector, expected[record.id][0]) for record in records)
        assert collection.count() == len(expected)
    waits.sort()
    print(
        f"{len(waits)} writes: median {1000 * waits[len(waits) // 2]:.1f} ms, "
        f"p99 {1000 * waits[int(0.99 * len(waits))]:.1f} ms, longest {1000 * waits[-1]:.1f} ms"
    )
    n = N_THREADS * N_CALLS
    fault_table.add("F10", f"calls of {N_THREADS} threads, {where}", n, SEED, differences=0)


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_eight_writers_and_eight_readers(tmp_path, where):
    made = Database.in_memory() if where == "memory" else Database(tmp_path / "threads")
    errors: list[BaseException] = []
    with made as database:
        collection = database.create("c", 4)
        collection.add(np.ones((1, 4)), ids=["first"])

        def write(thread):
            rng = np.random.default_rng(thread)
            for step in range(10):
                ids = [f"{thread}-{step}-{i}" for i in range(5)]
                collection.add(rng.normal(size=(5, 4)), ids=ids)
                if step % 3 == 2:
                    collection.delete(ids[:1])

        def read(thread):
            rng = np.random.default_rng(100 + thread)
            for _ in range(15):
                hits = collection.search(rng.normal(size=4), 1000)
                assert len({hit.id for hit in hits}) == len(hits)
                counts = {}
                for hit in hits:
                    counts.setdefault(hit.id.rpartition("-")[0], []).append(hit.id)
                assert all(len(ids) in (1, 4, 5) for ids in counts.values()), "half a commit"

        def guarded(function, thread):
            try:
                function(thread)
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=guarded, args=(function, number))
            for number in range(8)
            for function in (write, read)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert collection.count() == len(collection.ids()) == 1 + 8 * (10 * 5 - 3)
        for thread in range(8):
            assert collection.get([f"{thread}-9-4"])
