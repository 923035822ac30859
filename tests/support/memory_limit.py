"""Uses a database with little memory left (``RLIMIT_DATA``)."""

from __future__ import annotations

import resource
from pathlib import Path

import fault_load
import numpy as np

N_RECORDS = 5000
_KIB = 1024


def use(path: str, seed: int, spare_bytes: int) -> None:
    """Do one thing after another with `spare_bytes` more than is used now; say what came of it."""
    rng = np.random.default_rng(seed)
    load = fault_load.Load(path)
    collection = load.database.create(fault_load.MAIN, fault_load.DIMENSION)
    batch = {
        "vectors": rng.integers(-100, 100, (N_RECORDS, fault_load.DIMENSION)).astype(np.float32),
        "ids": [f"id{i}" for i in range(N_RECORDS)],
        "texts": [f"text {i} " * 100 for i in range(N_RECORDS)],
    }
    calls = {
        "add": lambda: collection.add(**batch),
        "search": lambda: collection.search(batch["vectors"][:500], 200),
        "read": lambda: collection.get(include_vectors=True),
        "compact": lambda: (collection.delete(["id1"]), collection.compact()),
        "delete": lambda: collection.delete(where={}),
    }
    for name, call in calls.items():
        before = collection.count()
        used = _data_bytes()
        resource.setrlimit(resource.RLIMIT_DATA, (used + spare_bytes, resource.RLIM_INFINITY))
        try:
            call()
            outcome = "done"
        except MemoryError:
            outcome = "MemoryError"
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)
        print(f"{name} {outcome}", flush=True)
        after = {"add": N_RECORDS, "delete": 0}.get(name, before) if outcome == "done" else before
        n_deleted = 1 if name == "compact" and "id1" not in collection.ids() else 0
        assert collection.count() == len(collection.ids()) == after - n_deleted
        if after == 0 and name == "add":
            calls["add"]()
    load.database.close()


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * _KIB
    raise AssertionError("no VmData")
