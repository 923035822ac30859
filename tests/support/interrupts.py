"""Interrupts a writer or a reader at random microseconds, also in the middle of our own steps."""

from __future__ import annotations

import random
import signal
import threading

import numpy as np

from m2m_rag import Database
from m2m_rag.storage.fork_gate import GATE


def run(path: str, seed: int, n: int) -> None:
    """Add n records one by one, most of them interrupted, also in the middle of the queue's steps.

    What was acknowledged has to be there, and nothing that was not asked for.
    """

    def interrupt(*_: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    rng, is_armed, done, n_interrupts = random.Random(seed), False, set(), 0
    signal.signal(signal.SIGALRM, interrupt)
    with Database(path) as database:
        collection = database.create("c", 4)
        for number in range(n):
            try:
                is_armed = True
                delay_s = 1e-6 + rng.choice((4e-3, 8e-4)) * rng.random()
                signal.setitimer(signal.ITIMER_REAL, delay_s)
                collection.add(np.ones((1, 4)), ids=[str(number)])
                is_armed = False
                done.add(str(number))
            except KeyboardInterrupt:
                n_interrupts += 1
            finally:
                is_armed = False
        assert done <= set(collection.ids()) <= {str(number) for number in range(n)}
        assert database.verify().is_sound
    print(n_interrupts)


def read(path: str, seed: int, n: int) -> None:
    """Interrupt n reads; nothing may be counted as in use after, and closing must end."""

    def interrupt(*_: object) -> None:
        nonlocal is_armed
        if is_armed:
            is_armed = False
            raise KeyboardInterrupt

    rng, is_armed, n_interrupts = random.Random(seed), False, 0
    signal.signal(signal.SIGALRM, interrupt)
    database = Database(path)
    collection = database.create("c", 4)
    collection.add(np.ones((4, 4)), ids=list("abcd"))
    while n_interrupts < n:
        try:
            is_armed = True
            signal.setitimer(signal.ITIMER_REAL, rng.random() * 6e-4 + 1e-5)
            for _ in range(4):
                collection.count()
                collection.get(["a"])
            is_armed = False
        except KeyboardInterrupt:
            n_interrupts += 1
        finally:
            is_armed = False
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert not GATE._present.threads(), "forks of other threads would wait"
    closing = threading.Thread(target=database.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive(), "close() hangs"
    print(n_interrupts)
