"""Opening, reopening, copying and closing a store."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_DIR, DEFAULT_PERSIST_FNAME
from llama_index.vector_stores.m2m._async import AsyncTwins
from llama_index.vector_stores.m2m._snapshot import find_snapshot, write_snapshot

from m2m_rag import Collection, Database
from m2m_rag.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    InvalidInputError,
    unknown_argument,
)

Metric: TypeAlias = Literal["cosine", "dot", "l2"]

_FIELDS = ("path", "collection_name", "metric", "embedder")
_FIXED = {"stores_text": True, "flat_metadata": False, "is_embedding_query": True}


class StoreLifecycle(AsyncTwins):
    """What a store is made of, and every way to come by one: abstract, `M2MVectorStore` is it."""

    stores_text: bool = True
    flat_metadata: bool = False
    path: str | None = None
    collection_name: str = "llama_index"
    metric: Metric = "cosine"
    embedder: str | None = None

    _collection: Collection = PrivateAttr()

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex knows this class."""
        return "M2MVectorStore"

    @classmethod
    def from_params(cls, **params: Any) -> Self:
        """Make a store from the constructor's arguments."""
        return cls(**params)

    @classmethod
    def from_persist_path(cls, persist_path: str, fs: Any = None) -> Self:
        """Open the copy that `persist` made for this path; it is then an ordinary durable store.

        Raises
        ------
        StorageError
            There is no copy.
        """
        folder, name = find_snapshot(persist_path, fs)
        return cls.from_params(path=folder, collection_name=name, metric=None)

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str = DEFAULT_PERSIST_DIR,
        namespace: str = "default",
        fs: Any = None,
    ) -> Self:
        """Open the copy that ``storage_context.persist(persist_dir)`` made of one store."""
        file = Path(persist_dir) / f"{namespace}__{DEFAULT_PERSIST_FNAME}"
        return cls.from_persist_path(str(file), fs)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Reopen the store that `to_dict` described; one that was in memory is gone."""
        if {**data, **kwargs}.get("path") is None:
            raise _not_copyable("rebuilt from a dictionary")
        return super().from_dict(data, **kwargs)

    @property
    def client(self) -> Collection:
        """The m2m_rag collection that holds the nodes."""
        return self._collection

    def persist(self, persist_path: str, fs: Any = None) -> None:
        """Copy the store to the folder beside `persist_path` that ends in ``.m2m``.

        A store with a path is durable without it; this makes a full second copy, or does nothing
        when that folder is the store's own. `from_persist_path` opens the copy.

        Raises
        ------
        InvalidInputError
            `fs` is not the local file system.
        """
        write_snapshot(self._collection, persist_path, fs)

    def close(self) -> None:
        """Close the database; calling it again does nothing."""
        self._collection.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., StoreLifecycle], tuple[Any, ...]]:
        if self.path is None:
            raise _not_copyable("pickled or copied")
        fields = {name: getattr(self, name) for name in _FIELDS}
        return _reopen, (type(self), fields)

    def __copy__(self) -> StoreLifecycle:
        function, arguments = self.__reduce__()
        return function(*arguments)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> StoreLifecycle:
        return self.__copy__()


def open_collection(
    path: str | os.PathLike[str] | None,
    collection_name: str,
    metric: Metric | None,
    embedder: str | None,
    unknown: dict[str, Any],
) -> tuple[Collection, dict[str, Any]]:
    """Open or make the collection that a store's arguments name, and return the store's fields."""
    for name, value in unknown.items():
        if name not in _FIXED:
            raise unknown_argument("M2MVectorStore", name, _FIELDS)
        if value is not _FIXED[name]:
            raise InvalidInputError(
                f"M2MVectorStore has {name}={_FIXED[name]}; {value!r} is not possible"
            )
    folder = None if path is None else Path(path).absolute()
    database = Database.in_memory() if folder is None else Database(folder)
    try:
        collection = _open_or_create(database, collection_name, metric)
        if embedder is not None:
            collection.bind_embedder(embedder)
    except BaseException:
        database.close()
        raise
    return collection, {
        "path": None if folder is None else str(folder),
        "collection_name": collection_name,
        "metric": collection.metric,
        "embedder": embedder,
    }


def _open_or_create(database: Database, name: str, metric: Metric | None) -> Collection:
    try:
        collection = database.open(name)
    except CollectionNotFoundError:
        return database.create(name, metric=metric or "cosine", exist_ok=True)
    if metric not in (None, collection.metric):
        raise CollectionExistsError(
            f"collection {name!r} exists with the metric {collection.metric!r}, got {metric!r}; "
            "open it with metric=None, or choose another collection_name"
        )
    return collection


def _reopen(cls: type[StoreLifecycle], fields: dict[str, Any]) -> StoreLifecycle:
    return cls.from_params(**fields)


def _not_copyable(what: str) -> InvalidInputError:
    return InvalidInputError(
        f"a store in memory can't be {what}: its nodes would be lost. Give it a path=, or copy it "
        "with persist(...) and open the copy"
    )
