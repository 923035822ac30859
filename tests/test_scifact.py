"""SciFact through the LangChain adapter: the published figures of exact search with MiniLM.

nDCG@10 and Recall@100 as BEIR computes them (trec_eval: linear gain, log2 discount, mean over the
queries that have judgements).
"""

from __future__ import annotations

import csv
import gzip
import json
import math

import numpy as np
import pytest

from m2m_rag.text import SentenceTransformerEmbedder

langchain_m2m = pytest.importorskip("langchain_m2m", reason="langchain-m2m is not installed")

NDCG_10, RECALL_100, TOLERANCE = 0.645, 0.925, 0.001
NDCG_10_OF_FLOAT16 = 0.64508
NDCG_10_WITH_INDEX = 0.643


@pytest.fixture(scope="module")
def scifact(shared_data):
    folder = shared_data / "scifact"

    def lines(name):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]

    judged: dict[str, dict[str, int]] = {}
    with open(folder / "qrels_test.tsv", encoding="utf-8") as stream:
        for row in csv.DictReader(stream, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return folder, lines("corpus"), lines("queries"), judged


def figures(judged, ranked):
    """Return nDCG@10 and Recall@100, averaged over the judged queries."""
    ndcg, recall = [], []
    for query, relevant in judged.items():
        gains = [relevant.get(document, 0) for document in ranked[query]]
        ideal = sorted(relevant.values(), reverse=True)
        ndcg.append(discounted(gains[:10]) / discounted(ideal[:10]))
        recall.append(sum(gain > 0 for gain in gains[:100]) / len(relevant))
    assert len(ndcg) == 300
    return float(np.mean(ndcg)), float(np.mean(recall))


def discounted(gains):
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def test_texts_embedded_by_the_pipeline(scifact, tmp_path):
    _, corpus, queries, judged = scifact
    with langchain_m2m.M2MVectorStore(SentenceTransformerEmbedder(), path=tmp_path) as store:
        store.add_texts(
            [f"{d['title']} {d['text']}" for d in corpus], ids=[d["_id"] for d in corpus]
        )
        ranked = {
            query["_id"]: [hit.id for hit in store.similarity_search(query["text"], k=100)]
            for query in queries
        }
    ndcg, recall = figures(judged, ranked)
    print(f"nDCG@10 {ndcg:.5f}, Recall@100 {recall:.5f}")
    assert ndcg == pytest.approx(NDCG_10, abs=TOLERANCE)
    assert recall == pytest.approx(RECALL_100, abs=TOLERANCE)


def test_float16_vectors(scifact):
    folder, corpus, queries, judged = scifact
    base, asked = (
        np.load(folder / name).astype(np.float32) for name in ("corpus_f16.npy", "query_f16.npy")
    )
    with langchain_m2m.M2MVectorStore() as store:
        store.add_embeddings(
            [(d["text"], vector) for d, vector in zip(corpus, base, strict=True)],
            ids=[d["_id"] for d in corpus],
        )
        ranked = {
            query["_id"]: [hit.id for hit in store.similarity_search_by_vector(vector, k=100)]
            for query, vector in zip(queries, asked, strict=True)
        }
        assert store.collection.wait_for_index()
        indexed = {
            query["_id"]: [hit.id for hit in store.similarity_search_by_vector(vector, k=10)]
            for query, vector in zip(queries, asked, strict=True)
        }
        assert store.collection.stats()["index"]["kind"] == "hrm2"
    through_index = figures(judged, indexed)[0]
    print(f"nDCG@10 with the index at its default: {through_index:.5f}")
    assert through_index >= NDCG_10_WITH_INDEX
    ndcg, recall = figures(judged, ranked)
    assert ndcg == pytest.approx(NDCG_10_OF_FLOAT16, abs=5e-6)
    assert recall == pytest.approx(RECALL_100, abs=1e-9)
