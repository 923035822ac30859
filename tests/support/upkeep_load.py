"""What the loads of upkeep have in common: small sizes, many records a step, and brute force."""

from __future__ import annotations

import random
from collections.abc import Callable

import fault_load
from fault_load import DIMENSION, MAIN, Load, Step, Stored, columns
from group_load import make_files_small
from oracle import top_k

from m2m_rag import Collection, _indexing

INDEX_FROM = 40
"""Live records that are indexed: few, for the index is built again and again."""
K = 5
Act = Callable[[Load], object]


def use_small_sizes() -> None:
    """Let this process index a few records already, and seal vector files of a few rows."""
    _indexing.INDEX_FROM = INDEX_FROM
    make_files_small()


def writes(seed: int, n_records: int, n: int) -> list[Step]:
    """Return n steps: making a collection, then each adds so many records and replaces some."""
    found = [fault_load.plan(seed, 0, {})]
    for number in range(1, n):
        state, rng = found[-1].after, random.Random(f"{seed}/{number}")
        ids = rng.sample(sorted(state[MAIN]), len(state[MAIN]) // 8)
        ids += [f"{number}-{i}" for i in range(n_records)]
        new = {id_: _record(rng, number) for id_ in ids}
        found.append(Step("write", _upsert(new), {**state, MAIN: {**state[MAIN], **new}}))
    return found


def check_answers(collection: Collection, records: dict[str, Stored]) -> None:
    """Hold exact searches against brute force; the records are in the order of their rows."""
    ids = list(records)
    vectors = [record.vector for record in records.values()]
    for vector in vectors[:: max(1, len(vectors) // 2)]:
        query = [value + 0.25 for value in vector]
        found = [hit.id for hit in collection.search(query, K, lod=2)]
        right = [ids[row] for row, _ in top_k(query, vectors, K, collection.metric)]
        assert found == right, f"found {found}, by brute force {right}"


def _upsert(new: dict[str, Stored]) -> Act:
    return lambda load: load.database.open(MAIN).upsert(**columns(new))


def _record(rng: random.Random, number: int) -> Stored:
    vector = tuple(rng.randint(-(2**20), 2**20) / 1024 for _ in range(DIMENSION))
    return Stored(f"step {number} wrote it", {"batch": number}, vector)
