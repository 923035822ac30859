"""A process of its own for a run, because libraries read their threads' number when imported.

OpenMP, OpenBLAS, MKL and Numba look at the environment once. By the time that a command line has
parsed ``--threads``, numpy is imported; so a run starts a fresh interpreter whose environment says
it from the first line on.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from m2m_rag.errors import M2MError

VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS", "M2M_THREADS", "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS", "LANCE_CPU_THREADS",
)  # fmt: skip

P = ParamSpec("P")
R = TypeVar("R")


def in_fresh_process(
    n_threads: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Call a module's function in a new interpreter whose libraries use `n_threads` threads.

    Raises
    ------
    M2MError
        The process died, which a crash inside a library or a lack of memory does to it. What the
        function itself raises comes through as it is.
    """
    context = multiprocessing.get_context("spawn")
    with _environment(n_threads), ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *args, **kwargs).result()
        except BrokenProcessPool:
            raise M2MError(
                "the process that measured died: a library crashed or memory ran out. The last "
                "line of progress names the method; leave it out of --peers, or measure less rows"
            ) from None


@contextmanager
def _environment(n_threads: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(n_threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
