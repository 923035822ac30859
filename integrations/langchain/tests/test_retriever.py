"""The retriever: the three search types, scores on request, refused arguments."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.tools import create_retriever_tool
from langchain_m2m import M2MRetriever, M2MVectorStore
from pydantic import ValidationError

from m2m_rag.errors import InvalidInputError, UnknownArgumentError

SEARCHES: list[dict[str, Any]] = [
    {"search_type": "similarity"},
    {"search_type": "mmr", "search_kwargs": {"lambda_mult": 0.1}},
    {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 0.55}},
]


@pytest.fixture
def filled(store: M2MVectorStore) -> M2MVectorStore:
    store.add_texts(
        ["red fox", "red wolf", "grey stone"],
        [{"source": "a"}, {"source": "b"}, {"source": "b"}],
        ids=["fox", "wolf", "stone"],
    )
    return store


@pytest.mark.parametrize("search", SEARCHES)
async def test_three_search_types(filled: M2MVectorStore, search: dict[str, Any]) -> None:
    retriever = filled.as_retriever(**search)
    assert isinstance(retriever, M2MRetriever)
    direct = filled.search("red fox", search["search_type"], **search.get("search_kwargs", {}))
    assert direct[0].id == "fox"
    assert retriever.invoke("red fox") == direct
    assert await retriever.ainvoke("red fox") == direct
    assert [d.id for d in retriever.invoke("red fox", k=1)] == ["fox"]
    assert retriever.batch(["red fox", "red fox"]) == [direct, direct]


@pytest.mark.parametrize("search", SEARCHES)
async def test_scores_on_request(filled: M2MVectorStore, search: dict[str, Any]) -> None:
    plain = filled.as_retriever(**search).invoke("red fox")
    retriever = filled.as_retriever(score_key="score", **search)
    if search["search_type"] == "similarity_score_threshold":
        scored = filled.similarity_search_with_relevance_scores("red fox", k=4)
    else:
        scored = filled.similarity_search_with_score("red fox", k=4)
    expected = {d.id: value for d, value in scored}
    for found in (retriever.invoke("red fox"), await retriever.ainvoke("red fox")):
        assert [d.id for d in found] == [d.id for d in plain]
        assert [d.metadata["score"] for d in found] == [expected[d.id] for d in found]
        assert all(set(d.metadata) == {"score", "source"} for d in found)
    assert filled.as_retriever(**search).invoke("red fox") == plain
    assert "score" not in filled.get_by_ids(["fox"])[0].metadata


async def test_a_score_never_hides_a_value(filled: M2MVectorStore) -> None:
    retriever = filled.as_retriever(score_key="source")
    for _ in range(2):
        with pytest.raises(InvalidInputError, match=r"'source'.*another score_key"):
            retriever.invoke("red fox")
    with pytest.raises(InvalidInputError):
        await retriever.ainvoke("red fox")
    assert filled.get_by_ids(["fox"])[0].metadata == {"source": "a"}


def test_filter_in_search_kwargs_and_in_the_call(filled: M2MVectorStore) -> None:
    retriever = filled.as_retriever(search_kwargs={"filter": {"source": "b"}})
    assert {d.id for d in retriever.invoke("red fox")} == {"wolf", "stone"}
    assert [d.id for d in retriever.invoke("red fox", filter={"source": "a"})] == ["fox"]


def test_senseless_arguments_are_refused(filled: M2MVectorStore) -> None:
    with pytest.raises(ValidationError, match="hybird"):
        filled.as_retriever(search_type="hybird")
    with pytest.raises(ValidationError, match="score_threshold"):
        filled.as_retriever(search_type="similarity_score_threshold")
    with pytest.raises(UnknownArgumentError, match="'search_type'"):
        filled.as_retriever(serch_type="mmr")
    with pytest.raises(UnknownArgumentError, match="'filter'"):
        filled.as_retriever(search_kwargs={"fliter": {}}).invoke("red fox")


def test_tags_name_the_store_and_the_embedding(filled: M2MVectorStore) -> None:
    assert filled.as_retriever().tags == ["M2MVectorStore", "WordEmbeddings"]
    assert filled.as_retriever(tags=["mine"]).tags == ["mine"]


async def test_documents_can_be_added_through_it(filled: M2MVectorStore) -> None:
    retriever = filled.as_retriever(search_kwargs={"k": 1})
    assert retriever.add_documents([Document("blue whale", id="whale")]) == ["whale"]
    assert await retriever.aadd_documents([Document("white hare", id="hare")]) == ["hare"]
    assert [d.id for d in retriever.invoke("blue whale")] == ["whale"]


async def test_as_an_agents_tool(filled: M2MVectorStore) -> None:
    tool = create_retriever_tool(
        filled.as_retriever(search_kwargs={"k": 1}), "animals", "Finds animals."
    )
    assert tool.invoke("red fox") == "red fox"
    assert await tool.ainvoke("red wolf") == "red wolf"
