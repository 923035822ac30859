"""What other processes do in the tests of processes: importable in a spawned child."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from m2m_rag import Collection
from m2m_rag.errors import WriterLockedError

N = 64


def vectors() -> Any:
    return np.random.default_rng(5).normal(size=(N, 8)).astype(np.float32)


def use(collection: Collection, answers: Any) -> None:
    """Read and try to write; put what came of it into a queue."""
    with collection.database:
        found = [hits[0].id for hits in collection.search(vectors(), 1)]
        try:
            collection.delete(["0"])
            wrote = "wrote"
        except WriterLockedError as error:
            wrote = str(error)
        answers.put((os.getpid(), found, collection.count(), wrote))


class Texts:
    """A map-style data set of a torch DataLoader: the vectors of a collection, by id."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def __len__(self) -> int:
        return N

    def __getitem__(self, number: int) -> Any:
        (record,) = self.collection.get([str(number)], include_vectors=True)
        hits = self.collection.search(record.vector, 1)
        assert hits[0].id == str(number)
        return record.vector


_given: Collection | None = None


def keep(collection: Collection) -> None:
    """Keep a handle for the tasks of this worker of a pool."""
    global _given
    _given = collection


def ask_the_kept(number: int) -> tuple[int, str, str]:
    """Search with the worker's handle."""
    assert _given is not None
    return ask(_given, number)


def ask_the_sent(collection: Collection, number: int) -> tuple[int, str, str]:
    """Search with a handle that came with the task."""
    with collection.database:
        return ask(collection, number)


def ask(collection: Collection, number: int) -> tuple[int, str, str]:
    """Search for a vector and try to write; return the process, the id found, what was said."""
    hits = collection.search(vectors()[number], 1)
    try:
        collection.delete(["nothing"])
        said = "wrote"
    except WriterLockedError as error:
        said = str(error)
    return os.getpid(), hits[0].id, said
