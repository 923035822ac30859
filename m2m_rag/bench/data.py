"""Data sets: a folder's vectors, or clusters made from a seed; each with its exact answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, RowArray, Segment
from m2m_rag.bench.base import BenchMetric
from m2m_rag.bench.m2m import BACKEND, METRIC_OF
from m2m_rag.compute import get_backend
from m2m_rag.errors import InvalidInputError
from m2m_rag.index import HRM2Index

NOISE = 0.2
"""Standard deviation of what is added to a copy of a row, over that of all its set's numbers."""
CHUNK = 65_536
"""Rows made at a time, each chunk from a seed of its own: memory is bounded, rows are the same."""
# With both, a query's cosine to its 1st, 10th, 100th and 1000th neighbour among 30,000 rows of 384
# falls 0.64, 0.58, 0.42, 0.21; among as many MiniLM embeddings of texts 0.69, 0.57, 0.47, 0.34.
SPREAD = 1.2
"""The length of a row's way from its centre, in lengths of a centre."""
DECAY = 0.5
"""The j-th dimension of a cluster spreads by j to the minus this."""


class DataSet(NamedTuple):
    """Rows, queries and the rows that answer them.

    Attributes
    ----------
    name
        The folder's name, or ``"synthetic"``.
    metric
        ``"ip"`` when all vectors have unit length.
    base, queries
        ``(n, d)`` and ``(m, d)`` float32, C-contiguous.
    truth
        ``(m, k)`` rows of the exact answers.
    origin
        What a reader needs to have the same data again.
    """

    name: str
    metric: BenchMetric
    base: FloatArray
    queries: FloatArray
    truth: RowArray
    origin: dict[str, Any]


def load(folder: Path, k: int, n_queries: int) -> DataSet:
    """Read a folder.

    Either ``base_f16.npy``, ``query_f16.npy`` and ``gt100.npy``: directions, compared by inner
    product, scaled to unit length here; or ``base.npy``, ``query.npy`` and ``gt.npy``, compared
    by Euclidean distance. Without ground truth, or with less than k columns of it, the exact
    answers are computed.

    Raises
    ------
    InvalidInputError
        The folder holds neither pair, or arrays that don't fit each other.
    """
    is_ip = (folder / "base_f16.npy").is_file()
    suffix = "_f16.npy" if is_ip else ".npy"
    base, queries = (_vectors(folder / f"{name}{suffix}", is_ip) for name in ("base", "query"))
    queries = queries[:n_queries]
    if base.shape[1] != queries.shape[1] or len(base) < k:
        raise InvalidInputError(
            f"{folder}: {len(base)} rows of {base.shape[1]} numbers and queries of "
            f"{queries.shape[1]}; the lengths must be equal and the rows at least k = {k}"
        )
    metric: BenchMetric = "ip" if is_ip else "l2"
    path = folder / ("gt100.npy" if is_ip else "gt.npy")
    truth = np.load(path) if path.is_file() else None
    is_usable = truth is not None and truth.ndim == 2 and truth.shape[1] >= k
    if truth is not None and is_usable and len(truth) >= len(queries):
        rows = truth[: len(queries), :k].astype(np.int64)
        how = path.name
    else:
        rows, how = exact(base, queries, k, metric), "computed exactly"
    name = folder.resolve().name
    return DataSet(name, metric, base, queries, rows, {"ground_truth": how})


def repeat(data: DataSet, copies: int, n_queries: int, seed: int = 0) -> DataSet:
    """Return a larger set: the rows and noisy copies of them, with queries made alike.

    Parameters
    ----------
    data
        The set.
    copies
        How often each row comes, the first time as it is.
    n_queries
        Queries are repeated as well, but not beyond this number.
    seed
        Of the noise.
    """
    k, is_ip = data.truth.shape[1], data.metric == "ip"
    noise = NOISE * float(data.base.std())
    base = _noisy(data.base, len(data.base) * copies, noise, is_ip, [seed, 3])
    n_queries = min(n_queries, len(data.queries) * copies)
    queries = _noisy(data.queries, n_queries, noise, is_ip, [seed, 4])
    origin = {"copies": copies, "noise": noise, "seed": seed, "ground_truth": "computed exactly"}
    truth = exact(base, queries, k, data.metric)
    return DataSet(f"{data.name} x {copies}", data.metric, base, queries, truth, origin)


def synthesise(n: int, d: int, k: int, n_queries: int, seed: int = 0) -> DataSet:
    """Make rows of unit length from a mixture of √n Gaussians around points of the sphere.

    A cluster spreads less and less along further dimensions, as real embeddings do. The queries
    come from the same mixture and are not among the rows.

    Raises
    ------
    InvalidInputError
        There are less rows than k, or less than one dimension.
    """
    if n < k or d < 1 or n_queries < 1:
        raise InvalidInputError(f"cannot make {n} rows of {d} numbers for the best {k}")
    generator = np.random.default_rng(seed)
    centers = _unit(generator.normal(size=(max(1, int(n**0.5)), d)).astype(np.float32))
    deviations = np.arange(1, d + 1, dtype=np.float32) ** -DECAY
    deviations *= SPREAD / np.linalg.norm(deviations)
    generator.shuffle(deviations)
    base = np.empty((n, d), dtype=np.float32)
    for start in range(0, n, CHUNK):
        chunk = base[start : start + CHUNK]
        chunk[:] = _draw(centers, deviations, len(chunk), [seed, 1, start])
    queries = _draw(centers, deviations, n_queries, [seed, 2])
    origin = {
        "seed": seed, "n_centers": len(centers), "spread": SPREAD, "decay": DECAY,
        "ground_truth": "computed exactly",
    }  # fmt: skip
    return DataSet("synthetic", "ip", base, queries, exact(base, queries, k, "ip"), origin)


def exact(base: FloatArray, queries: FloatArray, k: int, metric: BenchMetric) -> RowArray:
    """Return the ``(m, k)`` exact answers: before it is built, our index searches all rows."""
    index = HRM2Index(get_backend(BACKEND), METRIC_OF[metric])
    rows, _ = index.search(queries, k, [Segment(0, base)])
    return rows


def _vectors(path: Path, is_ip: bool) -> FloatArray:
    if not path.is_file():
        raise InvalidInputError(
            f"{path} does not exist; a data set has base_f16.npy and query_f16.npy (compared by "
            "inner product), or base.npy and query.npy (compared by Euclidean distance)"
        )
    vectors = np.ascontiguousarray(np.load(path), dtype=np.float32)
    if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
        raise InvalidInputError(f"{path}: expected finite numbers (n, d), got {vectors.shape}")
    return _unit(vectors) if is_ip else vectors


def _noisy(vectors: FloatArray, n: int, noise: float, is_ip: bool, seed: list[int]) -> FloatArray:
    """Return n rows: the vectors, then copies of them with noise."""
    repeated = np.resize(vectors, (n, vectors.shape[1]))
    added = np.random.default_rng(seed).standard_normal(repeated.shape, dtype=np.float32)
    added[: len(vectors)] = 0.0
    repeated = (repeated + np.float32(noise) * added).astype(np.float32)
    return _unit(repeated) if is_ip else repeated


def _draw(
    centers: FloatArray, deviations: NDArray[np.float32], n: int, seed: list[int]
) -> FloatArray:
    generator = np.random.default_rng(seed)
    labels = generator.integers(len(centers), size=n)
    noise = generator.standard_normal((n, len(deviations)), dtype=np.float32)
    noise *= deviations
    noise += centers[labels]
    return _unit(noise)


def _unit(vectors: FloatArray) -> FloatArray:
    """Scale rows to unit length in place, all but zero rows."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 0, norms, 1)
    return vectors
