"""Modes TEXT_SEARCH, SPARSE and HYBRID: plain loops decide what is right."""

from __future__ import annotations

import random
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore
from oracle import fused

from m2m_rag import Fusion
from m2m_rag.errors import InvalidInputError

MODE = VectorStoreQueryMode
WORD_MODES = [MODE.TEXT_SEARCH, MODE.SPARSE]
WORDS = ["fox", "heron", "kettle", "rust", "river", "stone", "moon", "tide", "iron", "fern"]
QUESTION = "fox by the river"
N_NODES = 200
THIRD = MetadataFilters(filters=[MetadataFilter(key="third", value=1)])


@pytest.fixture
def filled(store: M2MVectorStore, embed_model: M2MEmbedding) -> M2MVectorStore:
    """Texts of 2 to 5 of ten words, in documents of 50."""
    rng = random.Random(5)
    texts = [" ".join(rng.sample(WORDS, rng.randint(2, 5))) for _ in range(N_NODES)]
    store.add(
        TextNode(
            id_=f"{row:03}",
            text=text,
            embedding=embed_model.get_text_embedding(text),
            metadata={"third": row % 3},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"d{row // 50}")},
        )
        for row, text in enumerate(texts)
    )
    return store


def ask(
    store: M2MVectorStore, mode: VectorStoreQueryMode, k: int, **fields: Any
) -> list[tuple[str, float]]:
    fields = {"query_str": QUESTION} | fields
    result = store.query(VectorStoreQuery(mode=mode, similarity_top_k=k, **fields))
    assert [node.node_id for node in result.nodes or []] == result.ids
    return list(zip(result.ids or [], result.similarities or [], strict=True))


@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("restricted", [{}, {"filters": THIRD}, {"doc_ids": ["d1", "d3"]}])
def test_hybrid_equals_plain_loops(
    filled: M2MVectorStore,
    embed_model: M2MEmbedding,
    alpha: float | None,
    restricted: dict[str, Any],
) -> None:
    restricted = restricted | {"query_embedding": embed_model.get_query_embedding(QUESTION)}
    expected = fused(
        ask(filled, MODE.DEFAULT, 30, **restricted),
        ask(filled, MODE.TEXT_SEARCH, 30, **restricted),
        Fusion() if alpha is None else Fusion("alpha", alpha=alpha),
    )[:12]
    found = ask(filled, MODE.HYBRID, 12, alpha=alpha, sparse_top_k=30, **restricted)
    assert [id_ for id_, _ in found] == [id_ for id_, _ in expected]
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])
    assert all(0.0 <= score <= 1.0 for _, score in found)


@pytest.mark.parametrize("mode", WORD_MODES)
def test_words_alone_find_the_nodes_that_hold_one(filled: M2MVectorStore, mode: Any) -> None:
    found = ask(filled, mode, N_NODES)
    texts = {node.node_id: node.get_content().split() for node in filled.get_nodes()}
    held = {id_ for id_, words in texts.items() if {"fox", "river"} & set(words)}
    assert {id_ for id_, _ in found} == held
    assert 0 < len(held) < N_NODES
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    third = ask(filled, mode, N_NODES, filters=THIRD)
    assert [id_ for id_, _ in third] == [id_ for id_, _ in found if int(id_) % 3 == 1]
    assert ask(filled, mode, N_NODES, sparse_top_k=7) == found[:7]
    assert ask(filled, mode, N_NODES, query_str="wombat") == []


def test_hybrid_top_k_bounds_the_result_and_leaves_its_order(
    filled: M2MVectorStore, embed_model: M2MEmbedding
) -> None:
    vector = embed_model.get_query_embedding(QUESTION)
    many = ask(filled, MODE.HYBRID, 60, query_embedding=vector)
    assert len(many) == 60
    assert ask(filled, MODE.HYBRID, 60, query_embedding=vector, hybrid_top_k=3) == many[:3]
    assert ask(filled, MODE.HYBRID, 5, query_embedding=vector) == many[:5]


async def test_retrievers_take_the_modes(filled: M2MVectorStore, embed_model: M2MEmbedding) -> None:
    index = VectorStoreIndex.from_vector_store(filled, embed_model)
    vector = embed_model.get_query_embedding(QUESTION)
    expected = ask(filled, MODE.HYBRID, 4, query_embedding=vector, alpha=0.2, sparse_top_k=12)
    options: dict[str, Any] = {"similarity_top_k": 4, "alpha": 0.2, "sparse_top_k": 12}
    for retriever in (
        index.as_retriever(vector_store_query_mode="hybrid", **options),
        filled.as_retriever(embed_model, vector_store_query_mode="hybrid", **options),
    ):
        for hits in (retriever.retrieve(QUESTION), await retriever.aretrieve(QUESTION)):
            assert [(hit.node_id, hit.score) for hit in hits] == expected
    words = index.as_retriever(vector_store_query_mode="text_search", similarity_top_k=4)
    hits = words.retrieve(QUESTION)
    assert [(hit.node_id, hit.score) for hit in hits] == ask(filled, MODE.TEXT_SEARCH, 4)


@pytest.mark.parametrize("hostile", ['"fox', "fox AND", "NEAR(fox", "text:fox", "fox*", "(((", ""])
def test_a_question_is_no_query_language(filled: M2MVectorStore, hostile: str) -> None:
    found = {id_ for id_, _ in ask(filled, MODE.TEXT_SEARCH, N_NODES, query_str=hostile)}
    plain = {id_ for id_, _ in ask(filled, MODE.TEXT_SEARCH, N_NODES, query_str="fox")}
    assert found == (plain if "fox" in hostile else set())


def test_an_empty_store_answers_with_empty_lists(store: M2MVectorStore) -> None:
    for mode in (*WORD_MODES, MODE.HYBRID):
        assert ask(store, mode, 3, query_embedding=[1.0, 0.0]) == []


@pytest.mark.parametrize(
    ("mode", "fields", "words"),
    [
        (MODE.HYBRID, {"query_str": None}, "no query_str; mode hybrid"),
        (MODE.TEXT_SEARCH, {"query_str": None}, "no query_str; mode text_search"),
        (MODE.HYBRID, {"query_embedding": None}, "no query_embedding; expected one in mode hybrid"),
        (MODE.HYBRID, {"query_embedding": None, "node_ids": ["000"]}, "no query_embedding"),
        (MODE.HYBRID, {"alpha": 1.5}, "alpha: expected 0 to 1, got 1.5"),
        (MODE.HYBRID, {"sparse_top_k": 0}, "sparse_top_k is 0"),
        (MODE.DEFAULT, {"alpha": 0.0}, "alpha=0.0 is not supported in mode default"),
        (MODE.SPARSE, {"hybrid_top_k": 2}, "hybrid_top_k=2 .* mode sparse.*in mode hybrid"),
        (MODE.MMR, {"sparse_top_k": 2}, "sparse_top_k=2 .* hybrid or text_search or sparse"),
    ],
)
def test_what_a_mode_cannot_answer_raises(
    filled: M2MVectorStore,
    embed_model: M2MEmbedding,
    mode: Any,
    fields: dict[str, Any],
    words: str,
) -> None:
    vector = embed_model.get_query_embedding(QUESTION)
    with pytest.raises(InvalidInputError, match=words):
        ask(filled, mode, 3, **({"query_embedding": vector} | fields))
