"""The registry of stores: name → import path, in the order in which they are measured."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import cast

from m2m_rag.bench.registry import OURS
from m2m_rag.bench.store.base import StoreMethod
from m2m_rag.errors import InvalidInputError, MissingExtraError, did_you_mean

STORES: dict[str, str] = {
    OURS: "m2m_rag.bench.store.m2m:M2MStore",
    "m2m-lean": "m2m_rag.bench.store.m2m:M2MLeanStore",
    "chroma": "m2m_rag.bench.store.chroma_store:ChromaStore",
    "lancedb": "m2m_rag.bench.store.lancedb_store:LanceStore",
    "lancedb-flat": "m2m_rag.bench.store.lancedb_store:LanceFlatStore",
    "qdrant": "m2m_rag.bench.store.qdrant_store:QdrantStore",
}
PEERS: tuple[str, ...] = tuple(name for name in STORES if name != OURS)


def store_of(name: str) -> type[StoreMethod]:
    """Return the class of a store; its library is imported only when it is made."""
    module, _, attribute = STORES[name].partition(":")
    return cast(type[StoreMethod], getattr(importlib.import_module(module), attribute))


def chosen_stores(
    peers: Sequence[str], *, skip_missing: bool
) -> tuple[list[type[StoreMethod]], list[str]]:
    """Return our store and the peers', and the names of those not installed.

    Raises
    ------
    InvalidInputError
        A peer has no such name.
    MissingExtraError
        A peer is not installed and `skip_missing` is false.
    """
    for name in peers:
        if name not in PEERS:
            raise InvalidInputError(
                f"there is no store {name!r} to measure.{did_you_mean(name, PEERS)} "
                f"Known: {', '.join(PEERS)}."
            )
    stores, missing = [], []
    for name in STORES:
        if name != OURS and name not in peers:
            continue
        store = store_of(name)
        if importlib.util.find_spec(store.package) is not None:
            stores.append(store)
        elif skip_missing:
            missing.append(name)
        else:
            raise MissingExtraError(
                f"{name} needs the package {store.package!r}, which is not installed. Install it "
                "with: pip install 'm2m-rag[bench-store]', or leave it out with --skip-missing."
            )
    return stores, missing
