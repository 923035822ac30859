"""LlamaIndex's own callers: indexes, pipelines, refreshing, memory, recursive retrieval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.memory import VectorMemory, VectorMemoryBlock
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode, get_response_synthesizer
from llama_index.core.retrievers import RecursiveRetriever, VectorIndexRetriever
from llama_index.core.schema import Document, IndexNode, TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore

from m2m_rag.errors import UnknownArgumentError

DOCUMENTS = [
    Document(id_="fruit", text="Apples are red fruit.", metadata={"kind": "food"}),
    Document(id_="sky", text="The sky at noon looks blue.", metadata={"kind": "nature"}),
]


def contents(found: Any) -> list[str]:
    return [item.node.get_content() for item in found]


def test_an_index_answers_and_reopens_from_disk(tmp_path: Path, embed_model: M2MEmbedding) -> None:
    with M2MVectorStore(tmp_path) as store:
        VectorStoreIndex.from_documents(
            DOCUMENTS,
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=embed_model,
        )
    with M2MVectorStore(tmp_path) as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        (best,) = index.as_retriever(similarity_top_k=1).retrieve("what colour is the sky")
        assert (best.node.ref_doc_id, best.node.metadata) == ("sky", {"kind": "nature"})
        assert 0.3 < best.get_score(raise_error=True) < 1.0
        food = MetadataFilters(filters=[MetadataFilter(key="kind", value="food")])
        assert contents(index.as_retriever(filters=food).retrieve("sky")) == [
            "Apples are red fruit."
        ]
        engine = RetrieverQueryEngine.from_args(
            store.as_retriever(embed_model), llm=MockLLM(max_tokens=8)
        )
        assert len(engine.query("sky").source_nodes) == 2


async def test_the_asynchronous_index(embed_model: M2MEmbedding) -> None:
    with M2MVectorStore() as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        await index.ainsert_nodes([TextNode(id_="n", text="green grass")])
        found = await index.as_retriever().aretrieve("grass")
        assert contents(found) == ["green grass"]
        await index.adelete_nodes(["n"])
        assert store.count() == 0


def test_mmr_through_a_retriever(embed_model: M2MEmbedding) -> None:
    with M2MVectorStore() as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        index.insert_nodes([TextNode(text=t) for t in ("red apples", "red apples", "red sky")])
        retriever = index.as_retriever(
            vector_store_query_mode="mmr",
            similarity_top_k=2,
            vector_store_kwargs={"mmr_threshold": 0.4},
        )
        assert contents(retriever.retrieve("red apples")) == ["red apples", "red sky"]


def pipeline(
    store: M2MVectorStore, docstore: SimpleDocumentStore, embed_model: M2MEmbedding, *first: Any
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[*first, embed_model],
        vector_store=store,
        docstore=docstore,
        docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
        disable_cache=True,
    )


@pytest.mark.parametrize("splitter", [[], [SentenceSplitter(chunk_size=20, chunk_overlap=0)]])
def test_a_pipeline_upserts_and_deletes(
    store: M2MVectorStore, embed_model: M2MEmbedding, splitter: list[TransformComponent]
) -> None:
    """Without a splitter a document has no source: it must still be replaced and deleted."""
    run = pipeline(store, SimpleDocumentStore(), embed_model, *splitter)
    long = "One short sentence is here. " * 6
    run.run(documents=[Document(id_="a", text=long), Document(id_="b", text="stays")])
    assert store.list_ref_docs() == ["a", "b"]
    before = store.count()
    run.run(documents=[Document(id_="a", text=long), Document(id_="b", text="stays")])
    assert store.count() == before
    run.run(documents=[Document(id_="a", text="now short"), Document(id_="b", text="stays")])
    assert sorted(n.get_content() for n in store.get_nodes()) == ["now short", "stays"]
    run.run(documents=[Document(id_="b", text="stays")])
    assert [n.get_content() for n in store.get_nodes()] == ["stays"]


async def test_an_asynchronous_pipeline(store: M2MVectorStore, embed_model: M2MEmbedding) -> None:
    run = pipeline(store, SimpleDocumentStore(), embed_model)
    await run.arun(documents=[Document(id_="a", text="old")])
    await run.arun(documents=[Document(id_="a", text="new")])
    assert [n.get_content() for n in store.get_nodes()] == ["new"]


def test_refresh_replaces_only_what_changed(embed_model: M2MEmbedding) -> None:
    with M2MVectorStore() as store:
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex(
            nodes=[], storage_context=context, embed_model=embed_model, store_nodes_override=True
        )
        assert index.refresh_ref_docs(DOCUMENTS) == [True, True]
        assert index.refresh_ref_docs(DOCUMENTS) == [False, False]
        changed = [DOCUMENTS[0], Document(id_="sky", text="The sky at night looks black.")]
        assert index.refresh_ref_docs(changed) == [False, True]
        assert sorted(n.get_content() for n in store.get_nodes()) == [
            "Apples are red fruit.",
            "The sky at night looks black.",
        ]
        index.delete_ref_doc("sky", delete_from_docstore=True)
        assert store.list_ref_docs() == ["fruit"]
        assert index.refresh_ref_docs(changed) == [False, True]
        assert store.list_ref_docs() == ["fruit", "sky"]


def test_the_stores_retriever_sees_all_nodes_beside_an_index_node(
    embed_model: M2MEmbedding,
) -> None:
    """LlamaIndex restricts an index's own retriever to its index nodes; the store's has all."""
    with M2MVectorStore() as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        inner = TextNode(id_="inner", text="the full table of apple prices")
        index.insert_nodes(
            [
                TextNode(text="apple trees grow"),
                IndexNode(text="table of apple prices", index_id="t", obj=inner),
            ]
        )
        found = store.as_retriever(embed_model, similarity_top_k=5).retrieve("apple prices table")
        assert contents(found) == ["the full table of apple prices", "apple trees grow"]
        with pytest.raises(UnknownArgumentError, match="Did you mean 'filters'"):
            store.as_retriever(embed_model, filter=None)


def test_recursive_retrieval_follows_index_nodes_after_a_reopen(
    tmp_path: Path, embed_model: M2MEmbedding
) -> None:
    with M2MVectorStore(tmp_path, "top") as top, M2MVectorStore(tmp_path, "details") as details:
        VectorStoreIndex.from_vector_store(details, embed_model=embed_model).insert_nodes(
            [TextNode(text="apples cost two coins")]
        )
        VectorStoreIndex.from_vector_store(top, embed_model=embed_model).insert_nodes(
            [IndexNode(text="about apples", index_id="details")]
        )
    with M2MVectorStore(tmp_path, "top") as top, M2MVectorStore(tmp_path, "details") as details:
        recursive = RecursiveRetriever(
            "root",
            retriever_dict={
                "root": top.as_retriever(embed_model),
                "details": details.as_retriever(embed_model),
            },
        )
        assert contents(recursive.retrieve("apples")) == ["apples cost two coins"]


def test_from_vector_store_and_a_plain_retriever_agree(embed_model: M2MEmbedding) -> None:
    with M2MVectorStore() as store:
        index = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        index.insert_nodes([TextNode(text="red"), TextNode(text="blue")])
        ours = store.as_retriever(embed_model, 2).retrieve("red")
        theirs = VectorIndexRetriever(index, similarity_top_k=2).retrieve("red")
        assert ours == theirs == index.as_retriever(similarity_top_k=2).retrieve("red")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_vector_memory_on_a_store_that_was_never_written(
    store: M2MVectorStore, embed_model: M2MEmbedding
) -> None:
    memory = VectorMemory.from_defaults(
        vector_store=store, embed_model=embed_model, retriever_kwargs={"similarity_top_k": 1}
    )
    memory.put(ChatMessage(role=MessageRole.USER, content="I like red apples"))
    memory.put(ChatMessage(role=MessageRole.ASSISTANT, content="Noted: apples"))
    memory.put(ChatMessage(role=MessageRole.USER, content="The sky is blue"))
    found = memory.get("apples")
    assert [message.content for message in found] == ["I like red apples", "Noted: apples"]
    assert store.count() == 2
    memory.reset()
    assert memory.get("apples") == []


async def test_a_vector_memory_block_keeps_sessions_apart(
    store: M2MVectorStore, embed_model: M2MEmbedding
) -> None:
    block = VectorMemoryBlock(vector_store=store, embed_model=embed_model)
    for session, text in (("s1", "my cat is grey"), ("s2", "my cat is white"), (None, "no cat")):
        extra = {} if session is None else {"session_id": session}
        await block.aput([ChatMessage(role="user", content=text, additional_kwargs=extra)])
    question = [ChatMessage(role="user", content="my cat")]
    assert "no cat" in await VectorMemoryBlock(
        vector_store=store, embed_model=embed_model, similarity_top_k=3
    ).aget(question)
    answer = await block.aget(question, session_id="s2")
    assert [word in answer for word in ("white", "grey", "no cat")] == [True, False, False]


def test_a_response_names_its_sources(embed_model: M2MEmbedding) -> None:
    with M2MVectorStore() as store:
        VectorStoreIndex.from_documents(
            DOCUMENTS,
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=embed_model,
        )
        engine = RetrieverQueryEngine(
            retriever=store.as_retriever(embed_model, 1),
            response_synthesizer=get_response_synthesizer(
                llm=MockLLM(max_tokens=8), response_mode=ResponseMode.COMPACT
            ),
        )
        assert [s.node.ref_doc_id for s in engine.query("red apples").source_nodes] == ["fruit"]
