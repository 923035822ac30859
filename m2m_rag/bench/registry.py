"""The registry of methods: name → import path, in the order in which they are measured."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from m2m_rag.bench.base import BenchMetric, Method
from m2m_rag.errors import InvalidInputError, MissingExtraError, did_you_mean

OURS = "m2m"
METHODS: dict[str, str] = {
    OURS: "m2m_rag.bench.m2m:M2M",
    "linear": "m2m_rag.bench.linear:Linear",
    "faiss-hnsw": "m2m_rag.bench.faiss_methods:FaissHnsw",
    "faiss-ivfpqfs": "m2m_rag.bench.faiss_methods:FaissIvfPq",
    "faiss-ivfrabitqfs": "m2m_rag.bench.faiss_methods:FaissIvfRabitq",
    "svs": "m2m_rag.bench.svs_method:Svs",
    "scann": "m2m_rag.bench.scann_method:Scann",
    "hnswlib": "m2m_rag.bench.hnswlib_method:Hnswlib",
    "usearch": "m2m_rag.bench.usearch_method:Usearch",
    "usearch-f16": "m2m_rag.bench.usearch_method:UsearchF16",
    "usearch-i8": "m2m_rag.bench.usearch_method:UsearchI8",
}
PEERS: tuple[str, ...] = tuple(name for name in METHODS if name != OURS)
DEFAULT_PEERS: tuple[str, ...] = (
    "faiss-hnsw", "faiss-ivfpqfs", "hnswlib", "usearch", "scann", "svs", "linear",
)  # fmt: skip


def check_peers(names: Sequence[str]) -> None:
    """Raise `InvalidInputError` when a name is not that of a peer."""
    for name in names:
        if name not in PEERS:
            raise InvalidInputError(
                f"there is no peer {name!r} to measure.{did_you_mean(name, PEERS)} "
                f"Known: {', '.join(PEERS)}."
            )


def make_methods(
    peers: Sequence[str], metric: BenchMetric, k: int, n_threads: int, *, skip_missing: bool
) -> tuple[list[Method], list[str]]:
    """Make our method and the peers', and return also the names of those not installed.

    Raises
    ------
    InvalidInputError
        A peer has no such name.
    MissingExtraError
        A peer is not installed and `skip_missing` is false.
    """
    check_peers(peers)
    methods, missing = [], []
    for name, path in METHODS.items():
        if name != OURS and name not in peers:
            continue
        module, _, attribute = path.partition(":")
        kind = cast(type[Method], getattr(importlib.import_module(module), attribute))
        try:
            methods.append(kind(metric, k, n_threads))
        except MissingExtraError:
            if not skip_missing:
                raise
            missing.append(name)
    return methods, missing
