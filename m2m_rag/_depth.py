"""How thoroughly a search is to go, as users say it."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from m2m_rag.compute.clustered import LOD
from m2m_rag.errors import InvalidInputError, shown
from m2m_rag.inputs import as_count


class Depth(NamedTuple):
    """How thoroughly to search; see `Collection.search`."""

    recall: float | None = None
    lod: LOD = 1
    n_probe: int | None = None


def as_depth(recall: Any, lod: Any, n_probe: Any) -> Depth:
    """Return how thoroughly to search; a recall of 1 means exact search."""
    if recall is not None:
        is_number = isinstance(recall, (int, float, np.floating))
        if isinstance(recall, bool) or not is_number or not 0.0 < recall <= 1.0:
            raise InvalidInputError(
                f"recall: expected a number above 0 and at most 1, got {shown(recall)}."
            )
    if isinstance(lod, bool) or not isinstance(lod, (int, np.integer)) or lod not in (0, 1, 2):
        raise InvalidInputError(f"lod: expected 0, 1 or 2, got {shown(lod)}.")
    probes = None if n_probe is None else as_count(n_probe, "n_probe", least=1)
    is_exact = recall == 1.0 and n_probe is None and lod == 1
    target = None if recall is None else float(recall)
    return Depth(target, 2 if is_exact else cast(LOD, int(lod)), probes)
