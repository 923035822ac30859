"""The registry of compute backends: name → import path, and the choice of ``"auto"``."""

from __future__ import annotations

import importlib
import logging
from functools import cache
from typing import cast

from m2m_rag.compute.base import ComputeBackend
from m2m_rag.errors import InvalidInputError, did_you_mean

BACKENDS: dict[str, str] = {
    "numpy": "m2m_rag.compute.numpy_backend:NumpyBackend",
    "numba": "m2m_rag.compute.numba_backend:NumbaBackend",
}
AUTO = "numba"
"""What ``"auto"`` chooses: Numba is a core dependency and faster than numpy on every CPU."""

_log = logging.getLogger(__name__)


@cache
def get_backend(name: str = "auto") -> ComputeBackend:
    """Return the backend of that name; it is made once per process.

    Parameters
    ----------
    name
        A key of `BACKENDS`, or ``"auto"``. A named backend works or raises; only ``"auto"``
        chooses, and logs its choice once.

    Raises
    ------
    InvalidInputError
        There is no backend of that name in this version.
    """
    if name == "auto":
        _log.info("compute backend: %s (chosen by 'auto')", AUTO)
        return get_backend(AUTO)
    if name not in BACKENDS:
        raise InvalidInputError(
            f"there is no compute backend {name!r} in this version."
            f"{did_you_mean(name, BACKENDS)} Available: auto, {', '.join(BACKENDS)}."
        )
    module, _, attribute = BACKENDS[name].partition(":")
    return cast(ComputeBackend, getattr(importlib.import_module(module), attribute)())
