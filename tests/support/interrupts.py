"""Interrupts a writer at random microseconds, also in the middle of the queue's own steps."""

from __future__ import annotations

import random
import signal

import numpy as np

from m2m_rag import Database


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
