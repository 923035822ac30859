"""Writes in the middle of writes of the same thread: a signal handler's, and a finalizer's."""

from __future__ import annotations

import gc
import random
import signal
import time

from m2m_rag import Database
from m2m_rag.errors import StorageError

SAID = "in this very thread"


class Writing:
    """Adds records by number and keeps what was acknowledged."""

    def __init__(self, collection) -> None:
        self._collection = collection
        self.acknowledged: set[str] = set()
        self.n_refused = 0

    def add(self, number: int, *, may_be_refused: bool) -> None:
        try:
            self.acknowledged.update(self._collection.add([[number, 1]], ids=[str(number)]))
        except StorageError as error:
            if not may_be_refused or SAID not in str(error):
                raise
            self.n_refused += 1


def run(path: str, how: str, seed: int, seconds: float, durability: str) -> None:
    """Add for some time; print how many were acknowledged, and how many nested ones refused."""
    rng = random.Random(seed)
    with Database(path, durability=durability) as database:
        writing = Writing(database.create("c", 2))
        n_nested = 0

        def nested(*_: object) -> None:
            nonlocal n_nested
            n_nested += 1
            writing.add(-n_nested, may_be_refused=True)

        class Mortal:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                nested()

        if how == "signal":
            signal.signal(signal.SIGALRM, nested)
        else:
            gc.set_threshold(40)
        number, end_s = 0, time.monotonic() + seconds
        while time.monotonic() < end_s:
            number += 1
            if how == "signal":
                signal.setitimer(signal.ITIMER_REAL, rng.random() * 1.5e-3 + 1e-5)
            else:
                Mortal()
            writing.add(number, may_be_refused=False)
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.collect()
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        assert set(database.open("c").ids()) == writing.acknowledged
        assert database.verify().is_sound
    with Database(path) as database:
        records = database.open("c").get(include_vectors=True)
        assert {record.id for record in records} == writing.acknowledged
        assert all(record.vector.tolist() == [float(record.id), 1.0] for record in records)
    print(len(writing.acknowledged), writing.n_refused)
