"""Searching by words, and by words and meaning: fused as plain loops do, filtered, refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from langchain_m2m import M2MVectorStore
from oracle import fused

from m2m_rag import Fusion
from m2m_rag.errors import InvalidInputError, LimitError, UnknownArgumentError

Make = Callable[..., M2MVectorStore]
WORDS = ["fox", "heron", "kettle", "rust", "river", "stone", "moon", "tide", "iron", "fern"]
N_TEXTS = 300
QUESTION = "fox by the river"


@pytest.fixture
def filled(store: M2MVectorStore) -> M2MVectorStore:
    """Texts of 2 to 5 of ten words; some hold none of the question's."""
    rng = random.Random(5)
    texts = [" ".join(rng.sample(WORDS, rng.randint(2, 5))) for _ in range(N_TEXTS)]
    ids = [f"{row:03}" for row in range(N_TEXTS)]
    store.add_texts(texts, [{"third": row % 3} for row in range(N_TEXTS)], ids=ids)
    return store


def _ranking(pairs: list[tuple[Any, float]]) -> list[tuple[str, float]]:
    return [(document.id, score) for document, score in pairs]


@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("chosen", [None, {"third": 1}])
def test_hybrid_equals_plain_loops(
    filled: M2MVectorStore, alpha: float | None, chosen: Any
) -> None:
    fusion = Fusion(depth=40) if alpha is None else Fusion("alpha", alpha=alpha, depth=40)
    expected = fused(
        _ranking(filled.similarity_search_with_score(QUESTION, 40, chosen)),
        _ranking(filled.text_search_with_score(QUESTION, 40, chosen)),
        fusion,
    )
    found = _ranking(filled.hybrid_search_with_score(QUESTION, 20, chosen, fusion))
    assert [id_ for id_, _ in found] == [id_ for id_, _ in expected[:20]]
    assert [score for _, score in found] == pytest.approx([s for _, s in expected[:20]])
    assert all(0.0 <= score <= 1.0 for _, score in found)
    if chosen:
        assert {int(id_) % 3 for id_, _ in found} == {1}


def test_text_search_finds_whatever_holds_a_word_and_nothing_else(filled: M2MVectorStore) -> None:
    found = filled.text_search("heron, kettle!", k=N_TEXTS)
    held = {
        document.id
        for document in filled.iter_documents()
        if {"heron", "kettle"} & set(document.page_content.split())
    }
    assert len(held) < N_TEXTS
    assert {document.id for document in found} == held
    both = {d.id for d in found if {"heron", "kettle"} <= set(d.page_content.split())}
    assert found[0].id in both
    assert filled.text_search("wombat") == []
    assert len(filled.hybrid_search("wombat", k=7)) == 7


def test_more_results_leave_the_first_ones_alone(filled: M2MVectorStore) -> None:
    first = filled.hybrid_search_with_score(QUESTION, 3)
    assert filled.hybrid_search_with_score(QUESTION, 60)[:3] == first


@pytest.mark.parametrize("search_type", ["hybrid", "text"])
async def test_the_retriever_searches_by_words(filled: M2MVectorStore, search_type: str) -> None:
    options: dict[str, Any] = {"k": 5, "filter": {"third": 2}}
    if search_type == "hybrid":
        options["fusion"] = Fusion("alpha", alpha=0.2)
    scored = getattr(filled, f"{search_type}_search_with_score")(QUESTION, **options)
    direct = [document for document, _ in scored]
    assert len(direct) == 5
    retriever = filled.as_retriever(search_type=search_type, search_kwargs=options)
    assert filled.search(QUESTION, search_type, **options) == direct
    assert await filled.asearch(QUESTION, search_type, **options) == direct
    assert retriever.invoke(QUESTION) == direct
    assert await retriever.ainvoke(QUESTION) == direct
    kept = filled.as_retriever(search_type=search_type, search_kwargs=options, score_key="score")
    for found in (kept.invoke(QUESTION), await kept.ainvoke(QUESTION)):
        assert [(d.id, d.metadata["score"]) for d in found] == _ranking(scored)


async def test_async_equals_sync(filled: M2MVectorStore, embedding: Any) -> None:
    hybrid, words = filled.hybrid_search_with_score(QUESTION), filled.text_search(QUESTION)
    questions = embedding.questions
    assert await filled.ahybrid_search_with_score(QUESTION) == hybrid
    assert await filled.ahybrid_search(QUESTION) == [document for document, _ in hybrid]
    assert await filled.atext_search(QUESTION) == words
    assert [d for d, _ in await filled.atext_search_with_score(QUESTION)] == words
    assert embedding.questions == questions
    assert QUESTION in embedding.awaited


def test_words_need_no_embedding(make: Make) -> None:
    store = make(path=None)
    assert store.text_search("fox") == []
    store.add_embeddings([("a red fox", [1.0, 0.0]), ("a kettle", [0.0, 1.0])], ids=["a", "b"])
    assert [document.id for document in store.text_search("fox")] == ["a"]
    with pytest.raises(InvalidInputError, match="no embedding"):
        store.hybrid_search("fox")


@pytest.mark.parametrize("hostile", ['"fox', "fox AND", "NEAR(fox", "text:fox", "fox*", "(((", ""])
def test_a_question_is_no_query_language(filled: M2MVectorStore, hostile: str) -> None:
    plain = filled.text_search("fox", k=50)
    found = filled.text_search(hostile, k=50)
    assert len(filled.hybrid_search(hostile, k=9)) == 9
    assert {document.id for document in found} == (
        {d.id for d in plain} if "fox" in hostile else set()
    )


def test_what_cannot_be_answered_is_refused(filled: M2MVectorStore) -> None:
    with pytest.raises(InvalidInputError, match="filter is a function"):
        filled.hybrid_search(QUESTION, filter=lambda document: True)
    with pytest.raises(InvalidInputError, match=r"Fusion\(\.\.\.\), got 'rrf'"):
        filled.hybrid_search(QUESTION, fusion="rrf")  # type: ignore[arg-type]
    with pytest.raises(UnknownArgumentError, match="Did you mean 'fusion'"):
        filled.hybrid_search(QUESTION, fussion=Fusion())
    with pytest.raises(UnknownArgumentError, match="fusion"):
        filled.text_search(QUESTION, fusion=Fusion())
    with pytest.raises((InvalidInputError, LimitError), match="k"):
        filled.text_search(QUESTION, k=0)
    with pytest.raises(InvalidInputError, match="'hybird'.*'hybrid', 'text'"):
        filled.search(QUESTION, "hybird")
