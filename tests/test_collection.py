"""A collection does what its docstrings say, in memory and on disk."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from m2m_rag import Database
from m2m_rag._types import METRICS
from m2m_rag.errors import (
    ClosedError,
    DuplicateIdError,
    EmbedderMismatchError,
    InvalidInputError,
    RecordNotFoundError,
)
from m2m_rag.filters import matches, parse_where
from m2m_rag.inputs import as_vectors

RNG_SEED = 20


@pytest.fixture
def filled(database):
    """Twelve records r0 … r11 with d = 4; even ones carry a text, all carry metadata."""
    collection = database.create("c")
    vectors = np.random.default_rng(RNG_SEED).normal(size=(12, 4)).astype(np.float32)
    collection.add(
        vectors,
        ids=[f"r{i}" for i in range(12)],
        texts=[f"text {i}" if i % 2 == 0 else None for i in range(12)],
        metadatas=[{"i": i, "half": i / 2, "odd": bool(i % 2)} for i in range(12)],
    )
    return collection


def test_what_was_added_comes_back_exactly(database):
    collection = database.create("c", 3)
    vectors = np.array([[1e-38, -0.0, 3.5], [1, 2, 3]], dtype=np.float32)
    metadata = {"s": "é\x00😀", "n": None, "l": [1, 2.5, {"x": []}], "big": 2**63 - 1, "f": 1e-300}
    ids = collection.add(
        vectors,
        ids=["a\x00'\"; --", "é" * 256],
        texts=["", "x\x00y" * 1000],
        metadatas=[metadata, None],
        alphas=[2.5, 1],
        kappas=[None, 1e3],
    )
    first, second = collection.get(ids, include_vectors=True)
    assert first[:5] == ("a\x00'\"; --", "", metadata, 2.5, None)
    assert second[:5] == ("é" * 256, "x\x00y" * 1000, {}, 1.0, 1000.0)
    assert np.stack([first.vector, second.vector]).tobytes() == vectors.tobytes()


@pytest.mark.parametrize("metric", METRICS)
def test_search_equals_the_loops(database, metric):
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(200, 7)).astype(np.float32)
    years = rng.integers(2000, 2010, size=200).tolist()
    collection = database.create("c", metric=metric)
    ids = collection.add(vectors, metadatas=[{"year": year} for year in years])
    where = {"year": {"$gte": 2004}, "$not": {"year": 2007}}
    allowed = [matches(parse_where(where), {"year": year}) for year in years]
    queries = rng.normal(size=(5, 7)).astype(np.float32)
    for mask, filtered in ((None, None), (allowed, where)):
        batch = collection.search(queries, 9, where=filtered)
        for query, hits in zip(queries, batch, strict=True):
            expected = oracle.top_k(query, vectors, 9, metric, mask)
            assert [(hit.id, hit.score) for hit in hits] == [(ids[r], s) for r, s in expected]
            assert collection.search(query, 9, where=filtered) == hits


def test_k_results_whenever_k_match(filled):
    for k in (1, 3, 4):
        assert len(filled.search([1, 0, 0, 0], k, where={"i": {"$in": [1, 5, 7]}})) == min(k, 3)
    assert len(filled.search([1, 0, 0, 0], 1000)) == 12
    assert filled.search([1, 0, 0, 0], where={"i": 99}) == []


def test_an_empty_collection_answers(database):
    collection = database.create("empty")
    assert collection.search([1.0, 2.0]) == []
    assert collection.search(np.zeros((0, 5))) == []
    assert collection.search([[1.0], [2.0]]) == [[], []]
    assert collection.add([]) == []
    assert collection.get() == []
    assert collection.count() == len(collection) == 0
    assert list(collection) == []
    assert collection.delete(["x"]) == 0
    assert collection.dimension is None


def test_add_refuses_a_known_id_and_changes_nothing(filled):
    for ids in (["new", "r3"], ["twice", "twice"]):
        with pytest.raises(DuplicateIdError, match="upsert"):
            filled.add(np.ones((2, 4)), ids=ids)
    assert filled.count() == 12
    assert filled.get(["new", "twice"]) == []


def test_upsert_replaces_whole_records(filled):
    report = filled.upsert(
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]],
        ids=["r0", "new", "new"],
        metadatas=[{"z": 1}, {"z": 2}, {"z": 3}],
    )
    assert report == (["r0", "new", "new"], 1, 1, 0, 0)
    assert filled.get(["r0"])[0][1:3] == (None, {"z": 1})
    assert filled.get(["new"], include_vectors=True)[0].vector.tolist() == [0, 0, 1, 0]
    assert filled.count() == 13
    assert filled.search([1, 0, 0, 0], 1)[0].id == "r0"
    assert [record.id for record in filled.get(limit=2)] == ["r1", "r2"]


def test_upsert_swaps_a_document_in_one_commit(filled):
    before = filled.stats()["n_commits"]
    report = filled.upsert(np.ones((2, 4)), ids=["r1", "fresh"], replace_where={"i": {"$lt": 4}})
    assert report[1:] == (1, 1, 3, 0)
    assert filled.stats()["n_commits"] == before + 1
    assert filled.ids() == [f"r{i}" for i in range(4, 12)] + ["r1", "fresh"]
    assert filled.upsert([], replace_where={"i": 5}) == ([], 0, 0, 1, 0)


def test_update_changes_metadata_only(filled):
    assert filled.update(["r0", "r1"], [{"i": None, "new": 1}, {}]) == 2
    assert filled.get(["r0"])[0].metadata == {"i": None, "half": 0.0, "odd": False, "new": 1}
    assert filled.update(["r0"], [{"only": 1}], mode="replace") == 1
    assert filled.get(["r0"])[0].metadata == {"only": 1}
    assert filled.get(["r0"])[0].text == "text 0"
    with pytest.raises(RecordNotFoundError, match="'nope'.*Nothing was changed"):
        filled.update(["r2", "nope"], [{"i": 0}, {"i": 0}])
    assert filled.get(["r2"])[0].metadata["i"] == 2


def test_delete_by_id_filter_and_both(filled):
    assert filled.delete([]) == 0
    assert filled.delete(["unknown", "r0", "r0"]) == 1
    assert filled.delete(where={"i": {"$lt": 3}}) == 2
    assert filled.delete(["r4", "r5"], where={"odd": True}) == 1
    assert filled.ids() == ["r3", "r4", *(f"r{i}" for i in range(6, 12))]
    with pytest.raises(InvalidInputError, match=r"clear\(\)"):
        filled.delete()
    assert filled.clear() == 8
    assert filled.search([1, 0, 0, 0]) == []
    filled.add([[1, 2, 3, 4]], ids=["r0"])
    assert filled.search([1, 2, 3, 4])[0].id == "r0"


def test_get_in_the_order_asked(filled):
    assert [r.id for r in filled.get(["r5", "no", "r1", "r5"])] == ["r5", "r1", "r5"]
    assert [r.id for r in filled.get(["r5", "r1"], where={"i": 1})] == ["r1"]
    assert [r.id for r in filled.get(["r5", "r1", "r0"], limit=1, offset=1)] == ["r1"]
    assert [r.id for r in filled.get(where={"odd": True}, limit=2, offset=1)] == ["r3", "r5"]
    assert filled.get(limit=0) == []
    assert filled.get(["r1"])[0].vector is None


def test_counting_listing_and_iterating(filled):
    assert len(filled) == filled.count() == 12
    assert filled.count({"odd": True}) == 6
    assert filled.ids({"half": {"$gt": 5}}) == ["r11"]
    assert filled.distinct("odd") == [False, True]
    assert [record.id for record in filled] == filled.ids()


def test_a_returned_dictionary_is_the_callers_own(filled):
    filled.search([1, 0, 0, 0], 1)[0].metadata.clear()
    filled.get(["r0"])[0].metadata["i"] = 99
    assert filled.get(["r0"])[0].metadata["i"] == 0


def test_vectors_of_texts_finds_what_is_stored(filled):
    found = filled.vectors_of_texts(["text 2", "text 3", "nothing", "text 2"])
    assert list(found) == ["text 2"]
    assert found["text 2"].tolist() == filled.get(["r2"], include_vectors=True)[0].vector.tolist()


def test_mmr_keeps_scores_and_filters(filled):
    query = [1.0, 0.0, 0.0, 0.0]
    plain = filled.search(query, 12)
    assert filled.search_mmr(query, 5, fetch_k=12, lambda_mult=1.0) == plain[:5]
    hits = filled.search_mmr(query, 4, fetch_k=12, lambda_mult=0.2, where={"odd": True})
    assert len(hits) == 4
    assert all(hit.metadata["odd"] for hit in hits)
    assert all(hit in plain for hit in hits)
    assert database_is_empty(filled)


def database_is_empty(collection) -> bool:
    other = collection.database.create("other")
    return other.search_mmr([1.0]) == []


def test_what_the_caller_does_to_its_array_afterwards_does_not_matter(database):
    collection = database.create("c", metric="l2")
    vectors = np.ones((3, 2), dtype=np.float32)
    collection.add(vectors, ids=["a", "b", "c"])
    vectors[:] = 7
    (hit,) = collection.search([1, 1], 1, include_vectors=True)
    assert str(hit.score) == "0.0", "an exact match under l2 scores 0, not minus 0"
    assert hit.vector.tolist() == [1, 1]


def test_inputs_never_share_memory_with_the_callers_array():
    vectors = np.ones((3, 2), dtype=np.float32)
    assert not np.shares_memory(as_vectors(vectors, None, "vectors"), vectors)


def test_zero_vectors_score_zero_under_cosine(database):
    collection = database.create("c", 2)
    collection.add([[0, 0], [1, 0], [-1, 0]], ids=["zero", "same", "opposite"])
    assert [(h.id, h.score) for h in collection.search([2, 0])] == [
        ("same", 1.0),
        ("zero", 0.0),
        ("opposite", -1.0),
    ]
    assert [h.score for h in collection.search([0, 0])] == [0.0, 0.0, 0.0]


def test_one_embedder_fills_a_collection(database):
    collection = database.create("c")
    assert collection.embedder is None
    collection.bind_embedder("model-a")
    collection.bind_embedder("model-a")
    assert database.open("c").embedder == "model-a"
    with pytest.raises(EmbedderMismatchError, match="'model-a', got 'model-b'"):
        collection.bind_embedder("model-b")


def test_a_closed_handle_says_so(database):
    with database.create("c") as collection:
        collection.add([[1.0]])
    collection.close()
    with pytest.raises(ClosedError, match="Open it again"):
        collection.count()
    assert database.open("c").count() == 1


def test_repr_and_stats_tell_what_it_is(filled):
    assert repr(filled).startswith("<Collection 'c' of <Database ")
    filled.delete(["r0"])
    stats = filled.stats()
    assert (stats["n_records"], stats["n_dead_rows"], stats["dimension"]) == (11, 1, 4)


@pytest.mark.parametrize(("asked", "used"), [("auto", "numba"), ("numpy", "numpy")])
def test_stats_tell_the_backend_that_the_environment_asks_for(monkeypatch, asked, used):
    monkeypatch.setenv("M2M_BACKEND", asked)
    with Database.in_memory() as database:
        assert database.create("c").stats()["backend"] == used
