"""F15: hours of load with kills (``make soak``), or seconds of it: nothing is lost, nothing grows.

A writer is killed again and again while a reader stays; after each kill the database is checked
whole. The reader's memory and open files, and the bytes on disk, are watched.
"""

from __future__ import annotations

import os
import random
import threading
import time

import fault_load
from fault_sizes import size
from soak import disk_bytes
from zygote import Zygote

from m2m_rag import Database

SEED = 77
LASTS_S = float(os.environ.get("M2M_SOAK_S", size(10, 300)))
KILL_AFTER_S = 30.0 if LASTS_S >= 600 else 1.0
GROWTH = 1.05
SLACK_KIB = 16 << 10
"""What an allocator may keep besides."""
MOST_ON_DISK, DISK_SLACK = 2.5, 4 << 20
"""The folder's size over that of the same records, compacted; and the logs' besides."""


def test_soak(zygote, tmp_path, fault_table):
    path = tmp_path / "db"
    zygote.run("fault_load:run", str(path), SEED, 0, 20)
    state, first = fault_load.states(SEED, 0, 20, {})[-1], 20
    seen: list[tuple[int, int]] = []
    said: list[str] = []
    random.seed(SEED)
    n_kills = 0
    with Zygote() as reading:
        reader = reading.start("soak:read_on", str(path))

        def watch():
            for line in iter(reader.line, None):
                words = line.split()
                if len(words) != 2 or not line[:1].isdigit():
                    said.append(line)  # what the reader died of
                    return
                seen.append((int(words[0]), int(words[1])))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            end = time.monotonic() + LASTS_S
            while time.monotonic() < end:
                state, first = one_life(zygote, path, state, first)
                n_kills += 1
                assert watching.is_alive(), said
        finally:
            reader.kill()
            watching.join()
    assert said == []
    assert reader.status == -9
    n_bytes = disk_bytes(path)
    with Database(path) as database:
        database.compact(erase=True)
    n_live_bytes = disk_bytes(path)
    warm = seen[len(seen) // 4 :]
    memory, files = [kib for kib, _ in warm], [n for _, n in warm]
    fault_table.add(
        "F15", "load with kills", n_kills, SEED, lost=0, wrong=0, seconds=round(LASTS_S),
        steps=first, reads=len(seen), MiB_at_first=memory[0] >> 10, MiB_at_last=memory[-1] >> 10,
        KB_on_disk=n_bytes // 1000, KB_of_it_live=n_live_bytes // 1000,
    )  # fmt: skip
    assert memory[-1] < GROWTH * memory[0] + SLACK_KIB
    assert max(files) <= min(files) + 4, "files are left open"
    assert n_bytes < MOST_ON_DISK * n_live_bytes + DISK_SLACK


def one_life(zygote, path, state, first):
    """Write until the kill, check, and return the state and the next step."""
    child = zygote.start("fault_load:run", str(path), SEED, first, 10_000_000)
    killer = threading.Timer(random.uniform(0.1, 1.0) * KILL_AFTER_S, child.kill)
    killer.start()
    n = 0
    for line in iter(child.line, None):
        assert int(line) == first + n
        state = fault_load.plan(SEED, first + n, state).after
        n += 1
    killer.join()
    assert child.status == -9
    allowed = [state, fault_load.plan(SEED, first + n, state).after]
    found = fault_load.check(path, allowed)
    return allowed[found], first + n + found
