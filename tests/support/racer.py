"""A process that opens, reads, sometimes writes, and closes a database, over and over.

Usage: python racer.py DATABASE NUMBER TIMES. It prints the ids that it was told are written.
"""

from __future__ import annotations

import random
import sys

from m2m_rag import Database
from m2m_rag.errors import WriterLockedError


def main(path: str, number: int, times: int) -> None:
    rng = random.Random(number)
    mine = set()
    for turn in range(times):
        with Database(path) as database:
            collection = database.open("c")
            ids = set(collection.ids())
            assert ids >= {"x", "y"} | mine, f"{mine - ids} lost"
            assert {hit.id for hit in collection.search([1, 0], 10**6)} >= ids
            if rng.random() < 0.5:
                id_ = f"{number}-{turn}"
                try:
                    collection.add([[number, turn]], ids=[id_])
                except WriterLockedError:
                    continue
                mine.add(id_)
                print(id_, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
