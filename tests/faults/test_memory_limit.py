"""F11: too little memory is a MemoryError, and what is stored stays whole."""

from __future__ import annotations

from collections import Counter

import fault_load
from fault_sizes import size

SEED = 3
SPARE_MB = [1, 4, 8, 16, 64]
N_TRIALS = size(1, 20)


def test_little_memory(zygote, tmp_path, fault_table):
    outcomes = Counter()
    for spare in SPARE_MB:
        for trial in range(N_TRIALS):
            path = tmp_path / f"{spare}-{trial}"
            bytes_ = (spare << 20) + trial * 100_000
            said = zygote.run("memory_limit:use", str(path), SEED + trial, bytes_)
            outcomes.update(line.split()[1] for line in said)
            fault_load.check(path, [{fault_load.MAIN: {}}] if "delete done" in said else None)
    fault_table.add(
        "F11", f"{SPARE_MB} MB more than is used", len(SPARE_MB) * N_TRIALS, SEED,
        lost=0, wrong=0, crashed=0, **outcomes,
    )  # fmt: skip
    assert outcomes["MemoryError"]
    assert outcomes["done"]
