"""kill -9 in the middle of an ingest: what was committed stays, and the next run goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from m2m_rag import Database
from m2m_rag.text import Splitter, ingest

from .conftest import CountingEmbedder

_N_FILES = 60
_N_KILLS = 3
# The child dies by its own SIGKILL right after it embedded so many texts in this run.
_CHILD = """
import os, signal, sys
from m2m_rag import Database
from m2m_rag.text import HashingEmbedder, Splitter, ingest, ingesting, write

class Dying(HashingEmbedder):
    n = 0
    def embed_documents(self, texts):
        self.n += len(texts)
        if self.n > int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().embed_documents(texts)

write.COMMIT_PASSAGES = ingesting.COMMIT_PASSAGES = 10
with Database(sys.argv[1]) as database:
    collection = database.create("c", exist_ok=True)
    ingest(sys.argv[2], collection, Dying(64), splitter=Splitter(64), batch_size=4)
"""


def test_killed_ingest_goes_on_where_it_was(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(_N_FILES):
        # Every tenth file is too large for one commit of ten passages.
        n_paragraphs = 14 if n % 10 == 0 else 2
        paragraphs = [
            f"File {n} has this as its paragraph {p} of text." for p in range(n_paragraphs)
        ]
        (docs / f"{n:02}.txt").write_text("\n\n".join(paragraphs))
    stored: set[str | None] = set()
    for _ in range(_N_KILLS):
        arguments = [sys.executable, "-c", _CHILD, str(tmp_path / "db"), str(docs), "41"]
        done = subprocess.run(arguments, check=False, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        with Database(tmp_path / "db", read_only=True) as database:
            now = {record.text for record in database.open("c")}
        assert stored < now
        stored = now
    embedder = CountingEmbedder()
    with Database(tmp_path / "db") as database:
        collection = database.open("c")
        report = ingest(docs, collection, embedder, splitter=Splitter(64))
        assert not stored & set(embedder.texts)
        assert len(embedder.texts) + len(stored) == collection.count()
        assert len(report.added) + len(report.updated) + len(report.skipped) == _N_FILES
        assert report.skipped
        assert len(ingest(docs, collection, embedder, splitter=Splitter(64)).skipped) == _N_FILES
