"""`recall=` on SIFT vectors, as they are and with noisy copies, before any real query has come.

`tests/test_text100k.py` does the same on texts.
"""

from __future__ import annotations

import numpy as np
import pytest

from m2m_rag._types import Segment
from m2m_rag.bench.data import load, repeat
from m2m_rag.compute import get_backend
from m2m_rag.index import HRM2Index

BELOW, ABOVE = 0.015, 0.015
"""How far recall may be from its target: means over 100 queries are off by 0.006 by themselves."""


@pytest.mark.parametrize("copies", [1, 20])
def test_recall_is_what_was_asked_for(shared_data, copies):
    data = load(shared_data / "sift10k", 10, 500)
    if copies > 1:
        data = repeat(data, copies, 500)
    segments = [Segment(0, data.base)]
    index = HRM2Index(get_backend("numba"), "l2")
    index.build(segments)
    assert index.stats()["measured_on"] == "stand-ins"
    for target in (0.95, 0.98, 0.99):
        rows, _ = index.search(data.queries, 10, segments, recall=target)
        shares = [
            len(set(found.tolist()) & set(best.tolist())) / 10
            for found, best in zip(rows, data.truth, strict=True)
        ]
        print(f"{data.name}: recall asked {target}, got {np.mean(shares):.4f}")
        assert target - BELOW <= np.mean(shares) <= target + ABOVE
