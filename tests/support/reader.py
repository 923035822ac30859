"""A process that reads what `writer.py` writes until told to stop, and counts its reads.

Usage: python reader.py DATABASE NUMBER. A commit of the writer is a whole batch, added or deleted:
a read that sees a part of one ends the process with an error.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import defaultdict

from m2m_rag import Database


def check(records) -> None:
    batches = defaultdict(list)
    for record in records:
        batches[record.metadata["batch"]].append((record.metadata["i"], record.metadata["n"]))
    for batch, rows in batches.items():
        n = rows[0][1]
        if sorted(rows) != [(i, n) for i in range(n)]:
            raise SystemExit(f"{len(rows)} of {n} records of batch {batch}")


def main(path: str, number: int) -> None:
    told = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
    rng = random.Random(number)
    n_reads = 0
    with Database(path, read_only=True) as database:
        collection = database.open("c")
        while not told.is_set():
            kind = rng.randrange(4)
            if kind == 0:
                check(collection)
            elif kind == 1:
                check(collection.get())
            elif kind == 2:
                check(collection.search([1.0, 2.0, 3.0], 10**6))
            else:
                with Database(path, read_only=True) as another:
                    check(another.open("c").get())
            n_reads += 1
    print(n_reads)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
