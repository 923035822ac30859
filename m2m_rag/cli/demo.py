"""``m2m demo``: the whole job on the Python language reference, which every Python carries.

The reference (`pydoc_data.topics`) is split, embedded with all-MiniLM-L6-v2 and stored; then five
questions are answered twice from the same collection, by a LangChain chain and by a LlamaIndex
query engine. The answers are *extractive*: the sentence of the passages that is nearest to the
question. No key, no network. The second run finds everything stored and embeds only the questions.
"""

from __future__ import annotations

import pydoc_data.topics
import time
from pathlib import Path

from rich.rule import Rule

from m2m_rag import Database
from m2m_rag._optional import require
from m2m_rag.cli.demo_chains import Answer, ask_langchain, ask_llama_index
from m2m_rag.cli.ingest import progress_bar
from m2m_rag.cli.output import console
from m2m_rag.cli.search import print_hit
from m2m_rag.text import TextDocument, as_embedder, ingest_texts

COLLECTION = "python_reference"
QUESTIONS = (
    "When are default parameter values evaluated?",
    "How do I write an anonymous function?",
    "What does the nonlocal statement do?",
    "When is the finally clause of a try statement executed?",
    "Which values are considered false?",
)
K = 3


def run(db: Path) -> None:
    """Ingest, ask and print."""
    require("langchain_m2m", "demo")
    require("llama_index.vector_stores.m2m", "demo")
    start = time.perf_counter()
    embedder = as_embedder("minilm")
    documents = [
        TextDocument(source=topic, text=text, title=f"Python reference: {topic}")
        for topic, text in sorted(pydoc_data.topics.topics.items())
    ]
    with Database(db) as database:
        collection = database.create(COLLECTION, exist_ok=True)
        with progress_bar() as on_progress:
            report = ingest_texts(
                documents, collection, embedder, root="pydoc_data.topics", on_progress=on_progress
            )
        for line in (
            f"{len(documents)} topics of the Python reference → {db}: {report}",
            f"{collection.count()} passages, embedded by {embedder.fingerprint}\n",
        ):
            console.print(line, markup=False)
        for name, ask in (("LangChain", ask_langchain), ("LlamaIndex", ask_llama_index)):
            console.print(Rule(f"{name}, answers are extractive"))
            for question, answer in zip(
                QUESTIONS, ask(db, COLLECTION, embedder, QUESTIONS, K), strict=True
            ):
                _print(question, answer)
    console.print(f"done in {time.perf_counter() - start:.1f} s")
    for line in (
        "A chat model in place of the extractive step (m2m_rag/cli/demo_chains.py):",
        "  LangChain   chain = found | prompt | ChatOpenAI()",
        "  LlamaIndex  engine = index.as_query_engine(llm=OpenAI())",
        "More questions:",
        f"  m2m search 'your question' --db {db} --collection {COLLECTION}",
    ):
        console.print(line, markup=False, soft_wrap=True)


def _print(question: str, answer: Answer) -> None:
    console.print(f"\n[bold]{question}[/bold]")
    console.print(f"extractive answer: {answer.sentence}\n", style="green", markup=False)
    for number, (score, text, metadata) in enumerate(answer.passages, 1):
        print_hit(number, score, text, metadata)
