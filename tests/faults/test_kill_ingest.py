"""kill -9 at random moments of an ingest: what was stored stays, and nothing is half there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter

from m2m_rag import Database
from m2m_rag.text import HashingEmbedder, ingest

N_KILLS = 20
SEED = 7
N_FILES = 4000
CHILD = """
import sys
from m2m_rag import Database
from m2m_rag.text import HashingEmbedder, ingest

with Database(sys.argv[1]) as database:
    collection = database.create("c", exist_ok=True)
    held = collection.count()
    print("ready", flush=True)
    ingest(sys.argv[2], collection, HashingEmbedder(64),
           on_progress=lambda event: print(held + event.n_passages, flush=True))
    print("done", flush=True)
"""


def test_twenty_kills_and_nothing_is_lost_or_half_there(tmp_path, fault_table):
    random.seed(SEED)
    docs = tmp_path / "docs"
    docs.mkdir()
    for n in range(N_FILES):
        n_paragraphs = 80 if n % 400 == 0 else random.randint(1, 4)
        text = "\n\n".join(
            f"Paragraph {p} of file {n}. " + "word " * 120 for p in range(n_paragraphs)
        )
        (docs / f"{n:04}.txt").write_text(text)

    n_cut_off = n_done = stored_before = 0
    for _ in range(N_KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "db"), str(docs)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(random.uniform(0.0, 0.5))
        child.kill()
        said = [line.strip() for line in child.stdout.readlines() if line.endswith("\n")]
        child.stdout.close()
        child.wait()
        n_done += "done" in said
        acknowledged = max((int(line) for line in said if line.isdecimal()), default=0)
        with Database(tmp_path / "db") as database:
            collection = database.open("c")
            metadatas = [record.metadata for record in collection]
            assert len(metadatas) == collection.count() >= max(acknowledged, stored_before)
            held = Counter(metadata["source"] for metadata in metadatas)
            wanted = {metadata["source"]: metadata["n_passages"] for metadata in metadatas}
            assert held == wanted, "a source is half there"
            n_cut_off += len(held) < N_FILES
            stored_before = len(metadatas)
    fault_table.add(
        "F1", "kill -9 of an ingest", N_KILLS, SEED,
        lost=0, torn=0, wrong=0, in_the_middle=n_cut_off,
    )  # fmt: skip
    assert n_cut_off >= N_KILLS // 2

    with Database(tmp_path / "db") as database:
        collection = database.open("c")
        report = ingest(docs, collection, HashingEmbedder(64))
        assert len(report.added) + len(report.skipped) == N_FILES
        assert report.n_embedded == collection.count() - stored_before
        assert len(ingest(docs, collection, HashingEmbedder(64)).skipped) == N_FILES
