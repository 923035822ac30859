"""kill -9 at random moments: nothing acknowledged is lost, no batch is half there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from m2m_rag import Database

WRITER = Path(__file__).parents[1] / "support" / "writer.py"
N_KILLS = 20
SEED = 2024


def killed_writer(path, seed, delay_s):
    """Run the writer, kill it `delay_s` after its first acknowledgement, return what it said."""
    process = subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(seed)], stdout=subprocess.PIPE, text=True
    )
    said = [process.stdout.readline()]
    time.sleep(delay_s)
    process.kill()
    said += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -9
    return [int(line) for line in said if line.endswith("\n")]


def check(path, stored, acknowledged):
    """Compare the collection with the acknowledgements of all rounds so far."""
    with Database(path) as database:
        collection = database.open("c")
        found = defaultdict(dict)
        records = collection.get(include_vectors=True)
        for record in records:
            batch, i = record.metadata["batch"], record.metadata["i"]
            assert record.id == f"{batch}-{i}"
            assert record.text == f"text {i} of batch {batch}"
            assert record.vector.tolist() == [batch, i, batch * i % 1000]
            found[batch][i] = record.metadata["n"]
        for batch, rows in found.items():
            assert sorted(rows) == list(range(next(iter(rows.values())))), f"half of batch {batch}"
        assert len(records) == len({record.id for record in records}) == collection.count()
        for batch in acknowledged:
            if batch > 0:
                stored.add(batch)
            else:
                stored.discard(-batch)
        unacknowledged = set(found) - stored
        missing = stored - set(found)
        assert len(unacknowledged) <= 1, "at most the batch in flight is there unasked"
        assert len(missing) <= 1, "at most the delete in flight has happened unasked"
        if missing:
            assert max(stored | set(found)) % 3 == 0, (
                f"batch {missing} was acknowledged and is gone"
            )
        stored.clear()
        stored.update(found)
        probe = random.choice(records)
        assert collection.search(probe.vector, 1)[0].score == pytest.approx(1.0)
        collection.upsert([[0.5, 0.5, 0.5]], ids=["probe"])
        assert collection.delete(["probe"]) == 1
    return len(records)


def test_nothing_acknowledged_is_lost(tmp_path):
    print(f"seed {SEED}")
    random.seed(SEED)
    stored: set[int] = set()
    n_acknowledged = 0
    for trial in range(N_KILLS):
        acknowledged = killed_writer(tmp_path / "db", SEED + trial, random.uniform(0.0, 0.4))
        n_acknowledged += len(acknowledged)
        n_records = check(tmp_path / "db", stored, acknowledged)
    print(f"{N_KILLS} kills, {n_acknowledged} acknowledgements, {n_records} records at the end")
    assert n_acknowledged > N_KILLS
