"""Search by text, by text and vector, and by groups."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m_rag import Database, Fusion
from m2m_rag.errors import InvalidInputError
from m2m_rag.index.fusion import fuse

WORDS = ["red", "green", "blue", "fish", "bird", "tree", "house", "sea", "sky", "road"]
N = 200


def bm25(texts, query):
    """BM25 as SQLite defines it (k1 = 1.2, b = 0.75), by plain loops: {position: score}."""
    cut = [re.findall(r"\w+", text.lower()) for text in texts]
    mean = sum(map(len, cut)) / len(cut)
    totals = {}
    for word in dict.fromkeys(re.findall(r"\w+", query.lower())):
        holders = [i for i, words in enumerate(cut) if word in words]
        idf = math.log((len(cut) - len(holders) + 0.5) / (len(holders) + 0.5))
        idf = max(idf, 1e-6)
        for i in holders:
            n = cut[i].count(word)
            part = n * 2.2 / (n + 1.2 * (0.25 + 0.75 * len(cut[i]) / mean))
            totals[i] = totals.get(i, 0.0) + idf * part
    return totals


@pytest.fixture(params=["memory", "disk"])
def database(request, tmp_path):
    made = Database.in_memory() if request.param == "memory" else Database(tmp_path / "db")
    with made:
        yield made


@pytest.fixture
def filled(database):
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(N)]
    collection = database.create("c")
    collection.add(
        rng.normal(size=(N, 8)),
        ids=[f"r{i}" for i in range(N)],
        texts=texts,
        metadatas=[{"i": i, "doc": f"d{i % 7}"} for i in range(N)],
    )
    return collection


def expected(collection, query, k, where=lambda record: True):
    records = list(collection)
    scores = bm25([record.text or "" for record in records], query)
    found = [(records[i].id, score, i) for i, score in scores.items() if where(records[i])]
    return sorted(found, key=lambda item: (-round(item[1], 9), item[2]))[:k]


@pytest.mark.parametrize("query", ["fish", "Red FISH, in the sea!", "sky sky bird", "nothing here"])
def test_text_search_is_bm25(filled, query):
    hits = filled.search(text=query, k=15)
    wanted = expected(filled, query, 15)
    assert [hit.id for hit in hits] == [id_ for id_, _, _ in wanted]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score, _ in wanted])


def test_the_filter_applies_to_both_rankings(filled):
    vector = np.ones(8)
    where = {"doc": {"$in": ["d1", "d2"]}}
    hits = filled.search(text="fish", k=500, where=where)
    wanted = expected(filled, "fish", 500, lambda record: record.metadata["doc"] in ("d1", "d2"))
    assert [hit.id for hit in hits] == [id_ for id_, _, _ in wanted]
    fused = filled.search(vector, 500, text="fish", where=where)
    assert {hit.metadata["doc"] for hit in fused} == {"d1", "d2"}
    assert len(fused) == filled.count(where)


@pytest.mark.parametrize("fusion", [Fusion(), Fusion("alpha", alpha=0.3, depth=40)])
def test_fused_rankings_are_those_of_the_legs(filled, fusion):
    vector = np.linspace(-1, 1, 8)
    position = {record.id: i for i, record in enumerate(filled)}
    legs = []
    for hits in (
        filled.search(vector, fusion.depth),
        filled.search(text="blue house", k=fusion.depth),
    ):
        legs.append(
            (np.array([position[hit.id] for hit in hits]), np.array([hit.score for hit in hits]))
        )
    rows, scores = fuse(*legs, 12, fusion)
    hits = filled.search(vector, 12, text="blue house", fusion=fusion)
    assert [position[hit.id] for hit in hits] == rows.tolist()
    assert [hit.score for hit in hits] == scores.tolist()
    shorter = filled.search(vector, 3, text="blue house", fusion=fusion)
    assert shorter == hits[:3], "what k is does not change the first results"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.sampled_from(['"foo', "foo AND", "NEAR(foo", "-foo", "(((", "*"]))
def test_no_text_acts_as_a_query_language(text):
    with Database.in_memory() as database:
        for tokenizer in ("unicode61", "porter", "trigram"):
            collection = database.create(tokenizer, tokenizer=tokenizer)
            collection.add([[1.0], [2.0]], texts=[text, "body foo AND bar"], ids=["a", "b"])
            hits = {hit.id for hit in collection.search(text=text)}
            assert hits <= {"a", "b"}
            if tokenizer == "unicode61" and re.search(r"[a-z0-9]", text):
                assert "a" in hits


def test_words_and_parts_of_words(database):
    texts = ["Café généralisé", "Running generalizations", "foo-bar_baz", "東京都庁"]
    found = {}
    for tokenizer in ("unicode61", "porter", "trigram"):
        collection = database.create(tokenizer, tokenizer=tokenizer)
        collection.add(np.ones((4, 2)), texts=texts, ids=["fr", "en", "id", "jp"])
        for word in ("cafe", "CAFÉ", "run", "general", "bar", "京都庁", "o-b"):
            hits = collection.search(text=word)
            found[tokenizer, word] = sorted(hit.id for hit in hits)
    assert found["unicode61", "cafe"] == found["unicode61", "CAFÉ"] == ["fr"]
    assert found["unicode61", "run"] == []
    assert found["porter", "run"] == ["en"]
    assert found["unicode61", "bar"] == ["id"]
    assert found["trigram", "general"] == ["en", "fr"]
    assert found["trigram", "京都庁"] == ["jp"]
    assert found["trigram", "o-b"] == ["id"]


def test_the_index_follows_every_kind_of_write(filled):
    def check():
        for word in ("fish", "zebra"):
            hits = filled.search(text=word, k=1000)
            wanted = expected(filled, word, 1000)
            assert [hit.id for hit in hits] == [id_ for id_, _, _ in wanted]

    filled.delete([f"r{i}" for i in range(0, N, 3)])
    check()
    filled.upsert(np.ones((2, 8)), ids=["r1", "z"], texts=["zebra fish", None])
    check()
    filled.upsert(np.ones((2, 8)), ids=["r1", "z"], texts=["", "a zebra"])
    check()
    with pytest.raises(InvalidInputError):
        filled.add(np.ones((1, 3)), texts=["zebra"])
    check()
    filled.update(["r2"], [{"i": -1}])
    check()
    filled.clear()
    assert filled.search(text="fish") == []


def test_what_cannot_be_answered_says_so(database, filled):
    none = database.create("none", tokenizer=None)
    none.add([[1.0]], texts=["fish"])
    with pytest.raises(InvalidInputError, match="tokenizer=None"):
        none.search(text="fish")
    with pytest.raises(InvalidInputError, match="a vector, a text, or both"):
        filled.search()
    with pytest.raises(InvalidInputError, match="takes one query"):
        filled.search(np.ones((2, 8)), text="fish")
    with pytest.raises(InvalidInputError, match=r"Fusion\(...\)"):
        filled.search(np.ones(8), text="fish", fusion="rrf")
    with pytest.raises(InvalidInputError, match="Did you mean 'porter'"):
        database.create("wrong", tokenizer="portre")
    assert filled.search(text="") == filled.search(text=" -- ") == []
    assert len(filled.search(np.ones(8), 5, text="")) == 5
    assert database.create("empty").search(text="fish") == []


def test_groups_are_the_best_of_each_and_in_order(filled):
    vector = np.linspace(-1, 1, 8)
    where = {"i": {"$gte": 20}}
    everything = filled.search(vector, N, where=where, recall=1.0)
    wanted = {}
    for hit in everything:
        wanted.setdefault(hit.metadata["doc"], []).append(hit)
    groups = filled.search_groups(vector, "doc", 4, group_size=3, where=where)
    assert [group.value for group in groups] == list(wanted)[:4]
    assert [group.hits for group in groups] == [hits[:3] for hits in list(wanted.values())[:4]]
    assert len(filled.search_groups(vector, "doc", 100)) == 7
    assert filled.search_groups(vector, "missing") == []
