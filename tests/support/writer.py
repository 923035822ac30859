"""A process that writes batches to a collection and acknowledges each on its standard output.

Usage: python writer.py DATABASE SEED. Batch b holds rows ``b-0`` … ``b-(n-1)``; its metadata names
the batch and its size, and the vector of row i is (b, i, b * i). Every third batch is followed by
deleting one earlier batch, acknowledged as ``-b``.
"""

from __future__ import annotations

import random
import sys

from m2m_rag import Database


def vector(batch: int, i: int) -> list[float]:
    return [float(batch), float(i), float(batch * i % 1000)]


def main(path: str, seed: int) -> None:
    random.seed(seed)
    with Database(path) as database:
        collection = database.create("c", 3, exist_ok=True)
        first = max((m["batch"] for m in (r.metadata for r in collection)), default=0) + 1
        for batch in range(first, first + 10_000):
            n = random.randint(1, 200)
            collection.upsert(
                [vector(batch, i) for i in range(n)],
                ids=[f"{batch}-{i}" for i in range(n)],
                texts=[f"text {i} of batch {batch}" for i in range(n)],
                metadatas=[{"batch": batch, "n": n, "i": i} for i in range(n)],
            )
            print(batch, flush=True)
            if batch % 3 == 0:
                gone = random.randint(1, batch)
                collection.delete(where={"batch": gone})
                print(-gone, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
