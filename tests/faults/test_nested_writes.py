"""What a signal handler or a finalizer writes in the middle of a write is refused, or stored."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_sizes import size

SECONDS = size(3, 30)
SEED = 17
SUPPORT = Path(__file__).parent.parent / "support"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
@pytest.mark.parametrize("durability", ["full", "off"])
@pytest.mark.parametrize("how", ["signal", "finalizer"])
def test_nothing_acknowledged_is_lost(tmp_path, fault_table, how, durability):
    code = (
        f"import sys; sys.path.insert(0, {str(SUPPORT)!r}); import nested_writes;"
        f"nested_writes.run({str(tmp_path / 'db')!r}, {how!r}, {SEED}, {SECONDS}, {durability!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS + 60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "a finalizer's error is only printed"
    n_acknowledged, n_refused = map(int, done.stdout.split())
    assert n_refused > 0
    fault_table.add(
        "F10", f"writes in the middle of writes: a {how}'s, {durability}", n_acknowledged, SEED,
        lost=0, wrong=0, refused=n_refused,
    )  # fmt: skip
