"""Queries: modes, scores, restrictions, and errors instead of approximations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from llama_index.core.indices.query.embedding_utils import get_top_k_mmr_embeddings
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.m2m import M2MVectorStore

from m2m_rag.errors import DimensionError, InvalidInputError, UnknownArgumentError

MODE = VectorStoreQueryMode
VECTORS = {"e": (1.0, 0.0), "ne": (2.0, 2.0), "n": (0.0, 3.0), "w": (-1.0, 0.0)}
DOCS = {"e": "d1", "ne": "d1", "n": "d2"}


@pytest.fixture
def compass(store: M2MVectorStore) -> M2MVectorStore:
    """Four nodes at 0, 45, 90 and 180 degrees; `w` has no source document."""
    store.add(
        TextNode(
            id_=name,
            text=name,
            embedding=list(vector),
            metadata={"first": name[0]},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=DOCS[name])}
            if name in DOCS
            else {},
        )
        for name, vector in VECTORS.items()
    )
    return store


def ask(
    store: M2MVectorStore, embedding: Any = (1.0, 0.0), k: int = 10, /, **fields: Any
) -> VectorStoreQueryResult:
    kwargs = fields.pop("kwargs", {})
    query = VectorStoreQuery(
        query_embedding=None if embedding is None else list(embedding),
        similarity_top_k=k,
        **fields,
    )
    result = store.query(query, **kwargs)
    assert type(result.nodes) is type(result.similarities) is type(result.ids) is list
    assert [node.node_id for node in result.nodes] == result.ids
    assert len(result.similarities) == len(result.ids)
    assert all(type(score) is float for score in result.similarities)
    return result


def only(key: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_scores_are_cosines_best_first(compass: M2MVectorStore) -> None:
    result = ask(compass)
    assert result.ids == ["e", "ne", "n", "w"]
    assert result.similarities == pytest.approx([1.0, 0.5**0.5, 0.0, -1.0], abs=1e-6)


def test_k_bounds_the_result(compass: M2MVectorStore) -> None:
    assert ask(compass, (1.0, 0.0), 2).ids == ["e", "ne"]
    assert ask(compass, (1.0, 0.0), 0).ids == []


@pytest.mark.parametrize(
    ("metric", "scores"), [("dot", [2.0, 1.0, 0.0, -1.0]), ("l2", [0.0, -(2**0.5), -2.0, -5.0])]
)
def test_other_metrics_give_their_own_scores(metric: Any, scores: list[float]) -> None:
    vectors = {"dot": [(2, 2), (1, 0), (0, 3), (-1, 0)], "l2": [(1, 0), (0, 1), (-1, 0), (1, 5)]}
    with M2MVectorStore(metric=metric) as store:
        store.add(TextNode(embedding=list(map(float, v))) for v in vectors[metric])
        assert ask(store).similarities == pytest.approx(scores, abs=1e-6)


def test_a_filter_is_applied_before_k(compass: M2MVectorStore) -> None:
    assert ask(compass, (1.0, 0.0), 1, filters=only("first", "w")).ids == ["w"]
    assert ask(compass, filters=only("first", "?")).ids == []
    assert ask(compass, filters=MetadataFilters(filters=[])).ids == ["e", "ne", "n", "w"]


def test_node_ids_and_doc_ids_restrict_and_intersect_filters(compass: M2MVectorStore) -> None:
    assert ask(compass, node_ids=[]).ids == ["e", "ne", "n", "w"]
    assert ask(compass, node_ids=["w", "ne", "?"]).ids == ["ne", "w"]
    assert ask(compass, doc_ids=["d1"]).ids == ["e", "ne"]
    assert ask(compass, doc_ids=["d2", "w"]).ids == ["n", "w"]
    assert ask(compass, doc_ids=[]).ids == []
    assert ask(compass, doc_ids=["d1"], node_ids=["n", "ne"]).ids == ["ne"]
    assert ask(compass, doc_ids=["d1", "d2"], filters=only("first", "n")).ids == ["ne", "n"]
    assert ask(compass, node_ids=["e"], filters=only("first", "n")).ids == []


def test_a_query_without_embedding_returns_the_rows_that_its_filter_selects(
    compass: M2MVectorStore,
) -> None:
    result = ask(compass, None, filters=only("first", "n"))
    assert (result.ids, result.similarities) == (["ne", "n"], [0.0, 0.0])
    assert ask(compass, None, 1, filters=only("first", "n")).ids == ["ne"]
    assert ask(compass, None, node_ids=["n"]).ids == ["n"]
    assert ask(compass, None, doc_ids=[]).ids == []


def test_a_zero_query_vector_returns_filtered_rows_with_score_zero(
    compass: M2MVectorStore,
) -> None:
    result = ask(compass, (0.0, 0.0), filters=only("first", "n"))
    assert (sorted(result.ids or []), result.similarities) == (["n", "ne"], [0.0, 0.0])


def test_a_new_and_an_emptied_store_answer_with_empty_lists(store: M2MVectorStore) -> None:
    for mode in (MODE.DEFAULT, MODE.MMR):
        assert ask(store, mode=mode) == VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
    store.add([TextNode(embedding=[1.0, 0.0])])
    store.clear()
    assert ask(store).ids == []


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_mmr_is_llama_indexs_own_and_scores_are_true_similarities(
    threshold: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(30, 8)).tolist()
    query = random.normal(size=8).tolist()
    with M2MVectorStore() as store:
        store.add(TextNode(id_=str(i), embedding=v) for i, v in enumerate(vectors))
        plain = ask(store, query, 30)
        cosine = dict(zip(plain.ids or [], plain.similarities or [], strict=True))
        for how in (
            {"mmr_threshold": threshold, "kwargs": {"mmr_prefetch_k": 30}},
            {"kwargs": {"mmr_threshold": threshold, "mmr_prefetch_k": 30}},
            {"mmr_threshold": 0.99, "kwargs": {"mmr_threshold": threshold, "mmr_prefetch_k": 30}},
        ):
            result = ask(store, query, 6, mode=MODE.MMR, **how)
            candidates = [vectors[int(i)] for i in plain.ids or []]
            _, own = get_top_k_mmr_embeddings(
                query, candidates, None, 6, plain.ids, mmr_threshold=threshold
            )
            assert result.ids == own
            assert result.similarities == pytest.approx([cosine[i] for i in result.ids or []])


def test_mmr_prefers_different_nodes_and_honours_filters(store: M2MVectorStore) -> None:
    twins = {"a1": (1.0, 0.1), "a2": (1.0, 0.1001), "b": (0.8, -0.6), "c": (0.9, 0.5)}
    store.add(
        TextNode(id_=name, embedding=list(v), metadata={"group": name[0]})
        for name, v in twins.items()
    )
    assert ask(store, (1.0, 0.0), 2).ids == ["a1", "a2"]
    assert ask(store, (1.0, 0.0), 2, mode=MODE.MMR).ids == ["a1", "b"]
    assert ask(store, mode=MODE.MMR, filters=only("group", "c")).ids == ["c"]


@pytest.mark.parametrize(
    "mode",
    [MODE.SEMANTIC_HYBRID, MODE.SVM, MODE.LOGISTIC_REGRESSION, MODE.LINEAR_REGRESSION],
)
def test_an_unsupported_mode_raises_and_is_named(compass: M2MVectorStore, mode: MODE) -> None:
    with pytest.raises(ValueError, match=f"query mode '{mode.value}' is not supported"):
        ask(compass, mode=mode, query_str="words")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"embedding": None}, "no query_embedding"),
        ({"embedding": None, "query_str": "words"}, "no query_embedding"),
        ({"embedding": None, "mode": MODE.MMR, "node_ids": ["e"]}, "no query_embedding"),
        ({"mode": MODE.MMR, "mmr_threshold": 1.5}, "mmr_threshold is 1.5"),
        ({"output_fields": ["text"]}, "output_fields"),
        ({"embedding_field": "other"}, "embedding_field"),
        ({"node_ids": "e"}, "node_ids is the string 'e'"),
        ({"doc_ids": "d1"}, "doc_ids is the string 'd1'"),
        ({"embedding": (float("nan"), 0.0)}, "finite|NaN"),
    ],
)
def test_a_query_that_cannot_be_answered_raises(
    compass: M2MVectorStore, fields: dict[str, Any], words: str
) -> None:
    rest = {name: value for name, value in fields.items() if name != "embedding"}
    with pytest.raises(InvalidInputError, match=words):
        ask(compass, fields.get("embedding", (1.0, 0.0)), **rest)


def test_unknown_query_arguments_raise(compass: M2MVectorStore) -> None:
    with pytest.raises(UnknownArgumentError, match="Did you mean 'mmr_threshold'"):
        ask(compass, mode=MODE.MMR, kwargs={"mmr_treshold": 0.5})
    with pytest.raises(UnknownArgumentError, match="'mmr_threshold'"):
        ask(compass, kwargs={"mmr_threshold": 0.5})


def test_a_query_of_another_dimension_names_both(compass: M2MVectorStore) -> None:
    with pytest.raises(DimensionError, match=r"(?s)3.*2|2.*3"):
        ask(compass, (1.0, 0.0, 0.0))


@pytest.mark.parametrize("mode", [MODE.DEFAULT, MODE.MMR])
def test_several_query_vectors_are_refused(compass: M2MVectorStore, mode: MODE) -> None:
    several: Any = [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(InvalidInputError, match="2 dimensions"):
        compass.query(VectorStoreQuery(query_embedding=several, mode=mode))
