"""100,000 real text embeddings: added durably, searched exactly and to recall targets."""

from __future__ import annotations

import time

import numpy as np
import oracle
import pytest

from m2m_rag import Database

N_LOOPS = 3
"""Queries that the plain loops answer: about 4 s each."""
FLOOR_ROWS_S = 20_000
CALIBRATED = 0.01
"""How far recall may be from its target."""


@pytest.fixture(scope="module")
def text100k(shared_data):
    folder = shared_data / "text100k"

    def unit(name):
        vectors = np.load(folder / name).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return unit("base_f16.npy"), unit("query_f16.npy"), np.load(folder / "gt100.npy")


def test_added_durably_and_searched_exactly(text100k, tmp_path):
    base, queries, truth = text100k
    batch = 10_000
    with Database(tmp_path / "db") as database:
        collection = database.create("text100k", 384)
        start = time.perf_counter()
        for first in range(0, len(base), batch):
            collection.add(
                base[first : first + batch],
                ids=[f"row-{row}" for row in range(first, first + batch)],
                metadatas=[{"row": row} for row in range(first, first + batch)],
            )
        rate = len(base) / (time.perf_counter() - start)
        print(f"{rate:,.0f} rows/s in batches of {batch:,}, each on disk before the next")
        assert rate >= FLOOR_ROWS_S

    with Database(tmp_path / "db", read_only=True) as database:
        collection = database.open("text100k")
        for query in queries[:N_LOOPS]:
            expected = oracle.top_k(query.tolist(), base.tolist(), 10, "cosine")
            hits = collection.search(query, 10, lod=2)
            assert [(int(hit.id[4:]), hit.score) for hit in hits] == expected
        assert collection.wait_for_index()
        for target in (0.8, 0.9, 0.95, 0.98):
            found = [collection.search(query, 10, recall=target) for query in queries]
            shares = [
                len({int(hit.id[4:]) for hit in hits} & set(rows[:10].tolist())) / 10
                for hits, rows in zip(found, truth, strict=True)
            ]
            print(f"recall asked {target}, got {np.mean(shares):.4f}")
            assert np.mean(shares) == pytest.approx(target, abs=CALIBRATED)
        for start_query in range(0, len(queries), 250):
            batch_hits = collection.search(queries[start_query : start_query + 250], 10, lod=2)
            for hits, rows in zip(batch_hits, truth[start_query:], strict=False):
                assert [int(hit.id[4:]) for hit in hits] == rows[:10].tolist()
