"""One collection of one database: opened when it exists, created at the first write, bounded."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from weakref import WeakValueDictionary

from langchain_m2m._arguments import Batch
from langchain_m2m._embedding import Vector, check_vectors
from m2m_rag import Collection, Database
from m2m_rag.errors import CollectionNotFoundError, InvalidInputError, LimitError
from m2m_rag.inputs import as_choice

Metric: TypeAlias = Literal["cosine", "dot", "l2"]

_capacity_locks: WeakValueDictionary[tuple[Path, str], threading.Lock] = WeakValueDictionary()
_capacity_locks_guard = threading.Lock()


class CollectionHandle:
    """Owns the database object, so closing the handle frees every file.

    Reading never creates anything: a store that only reads leaves the writer lock to others.
    """

    def __init__(
        self, name: str, path: Path | None, metric: Metric, capacity: int | None, read_only: bool
    ) -> None:
        as_choice(metric, "metric", get_args(Metric))
        if capacity is not None and (type(capacity) is not int or capacity < 1):
            raise InvalidInputError(
                f"splat_capacity is {capacity!r}; 1 or more is expected, or None for no limit."
            )
        if path is None and read_only:
            raise InvalidInputError(
                "read_only=True needs path=...: an in-memory store is empty when it opens."
            )
        self.name = name
        self.metric = metric
        self.capacity = capacity
        self._lock = threading.RLock()  # Guards opening alone: reads never wait for a write.
        self._capacity_lock = _capacity_lock(path, name)
        self._collection: Collection | None = None
        self._database = (
            Database.in_memory() if path is None else Database(path, read_only=read_only)
        )
        try:
            self.find()
        except BaseException:
            self.close()
            raise

    def find(self) -> Collection | None:
        """Return the collection, or None as long as nobody has created it."""
        with self._lock:
            if self._collection is None:
                try:
                    collection = self._database.open(self.name)
                except CollectionNotFoundError:
                    return None
                self._adopt(collection)
            return self._collection

    def ensure(self) -> Collection:
        """Return the collection, created if needed."""
        with self._lock:
            collection = self.find()
            if collection is None:
                collection = self._database.create(self.name, metric=self.metric, exist_ok=True)
                self._adopt(collection)
            return collection

    def check_capacity(self, ids: Sequence[str]) -> None:
        """Raise when writing `ids` would pass `splat_capacity`.

        Raises
        ------
        LimitError
            Before anything is written.
        """
        if self.capacity is None:
            return
        collection = self.find()
        n_stored = 0 if collection is None else collection.count()
        new_ids = set(ids)
        if collection is not None and n_stored + len(new_ids) > self.capacity:
            new_ids -= {record.id for record in collection.get(list(new_ids))}
        if new_ids and n_stored + len(new_ids) > self.capacity:
            raise LimitError(
                f"collection {self.name!r} holds {n_stored} of at most {self.capacity} records "
                f"(splat_capacity) and {len(new_ids)} new ones were given. Nothing was written; "
                "raise splat_capacity or delete some first."
            )

    def upsert(self, batch: Batch, vectors: Sequence[Vector]) -> None:
        """Write one batch in one commit; no write comes between it and the capacity check."""
        check_vectors(vectors, len(batch.ids))
        with nullcontext() if self.capacity is None else self._capacity_lock:
            self.check_capacity(batch.ids)
            self.ensure().upsert(
                vectors, ids=batch.ids, texts=batch.texts, metadatas=batch.metadatas
            )

    def close(self) -> None:
        """Free files and memory; again is fine."""
        self._database.close()

    def _adopt(self, collection: Collection) -> None:
        if collection.metric != self.metric:
            raise InvalidInputError(
                f"collection {self.name!r} was created with metric={collection.metric!r}, and "
                f"metric={self.metric!r} was asked for. Open it with its own metric, or choose "
                "another collection_name."
            )
        self._collection = collection


def _capacity_lock(path: Path | None, name: str) -> threading.Lock:
    """Return the lock that all stores of this process on one collection share."""
    if path is None:
        return threading.Lock()
    with _capacity_locks_guard:
        return _capacity_locks.setdefault((path, name), threading.Lock())
