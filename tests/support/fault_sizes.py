"""How large the fault programme runs: for CI, or ``M2M_FAULTS=large`` (``make faults``).

With ``M2M_FAULTS=small`` it runs as for CI and the table is written (see `fault_table`).
"""

from __future__ import annotations

import os

LARGE = os.environ.get("M2M_FAULTS") == "large"


def size(ci: int, large: int) -> int:
    """Return how many cases to try."""
    return large if LARGE else ci
