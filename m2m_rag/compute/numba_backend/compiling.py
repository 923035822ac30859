"""How kernels are compiled: lazily, without the GIL, kept on disk where that is possible."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

_log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])


def kernel(
    fastmath: bool | set[str] = False, *, inlined: bool = False, allocates: bool = False
) -> Callable[[F], F]:
    """Return the decorator of a kernel.

    Only one that `allocates` counts references to arrays; the others borrow what they are given.
    Counting took 14 % of a search: each array that one kernel hands to another is counted up and
    down, and both are atomic.

    An inlined one is for other kernels to call: each array argument of a call that LLVM does not
    inline costs seven words on the stack, and ten arrays 50 ns.

    Where neither the package's folder nor the user's cache folder can be written (a container with
    a read-only root), Numba refuses to cache; the kernel is then compiled once a process.
    """

    def decorate(function: F) -> F:
        options: dict[str, Any] = {
            "nogil": True, "fastmath": fastmath, "forceinline": inlined, "_nrt": allocates,
        }  # fmt: skip
        try:
            compiled = njit(cache=True, **options)(function)
        except RuntimeError:
            compiled = njit(**options)(function)
        return cast(F, compiled)

    return decorate


@cache
def announce(name: str, cache_path: str) -> None:
    """Say, once a process, that kernels are about to be compiled, unless they are on disk.

    Parameters
    ----------
    name
        The kernel that stands for all, ``module.function`` as in its files' names.
    cache_path
        Where Numba keeps them (``dispatcher.stats.cache_path``).
    """
    folder = Path(cache_path)
    if not any(folder.glob(f"{name}-*.nbi")):
        _log.warning(
            "compiling kernels (%s) for this CPU, once a machine: about half a minute", name
        )
