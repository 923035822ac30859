"""The collections that a database has open, by folder, and how they are made and found."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, cast

from m2m_rag._database_upkeep import DatabaseUpkeep
from m2m_rag._parts import Parts
from m2m_rag._types import Durability, Metric
from m2m_rag.errors import CollectionNotFoundError, StorageError, did_you_mean
from m2m_rag.filters.sql import SQL_FUNCTIONS
from m2m_rag.storage.folder import changing, make_collection, remove_collection
from m2m_rag.storage.plain import COLLECTIONS_FOLDER, collection_folder
from m2m_rag.storage.registry import Registry
from m2m_rag.storage.store import CollectionStore


class Opening(DatabaseUpkeep):
    """The part of `m2m_rag.Database` that keeps its collections open."""

    _parts: dict[str, Parts]
    _registry: Registry
    _durability: Durability

    if TYPE_CHECKING:

        def _writing(self) -> AbstractContextManager[None]: ...

    def _holds(self, name: str, store: CollectionStore) -> bool:
        """Tell whether the collection `name` is still the one in `store`."""
        found = self._registry.folder_of(name)
        return found == (name if store.folder is None else store.folder.name)

    def _create(
        self, name: str, dimension: int | None, metric: Metric, tokenizer: str | None
    ) -> bool:
        """Create a collection; return False when another handle took the name meanwhile."""
        with self._writing():
            if self._path is None:
                store = CollectionStore(None, SQL_FUNCTIONS)
                store.catalog.initialise(metric, dimension, tokenizer)
                self._parts[name] = Parts(store, metric, not self._read_only, 1)
                return self._registry.add(name, name)
            with changing:
                folder = make_collection(self._path, metric, dimension, tokenizer)
                # What opening needs must work before the name counts.
                parts = self._parts_in(folder)
                added = False
                try:
                    added = self._registry.add(name, folder)
                finally:
                    if not added:
                        del self._parts[folder]
                        parts.close()
                if not added:
                    remove_collection(self._path / COLLECTIONS_FOLDER / folder)
            return added

    def _parts_of(self, name: str) -> Parts:
        folder_name = self._registry.folder_of(name)
        while folder_name is not None:
            try:
                return self._parts_in(folder_name)
            except StorageError:
                found, folder_name = folder_name, self._registry.folder_of(name)
                if folder_name == found:
                    raise
                # Else another process dropped it meanwhile, and may have made it anew.
        names = self._registry.names()
        raise CollectionNotFoundError(
            f"there is no collection {name!r} in {self!r}.{did_you_mean(name, names)} "
            f"It holds: {', '.join(names) or 'none'}. Make one with create({name!r})."
        )

    def _parts_in(self, folder_name: str) -> Parts:
        parts = self._parts.get(folder_name)
        if parts is None:
            self._forget_dropped()
            folder = collection_folder(cast(Path, self._path), folder_name)
            store = CollectionStore(folder, SQL_FUNCTIONS, self._durability)
            try:
                state = self._state_of(store)
                metric = cast(Metric, state.metric)
                parts = Parts(store, metric, not self._read_only, state.generation)
                self._parts[folder_name] = parts
            except BaseException:
                store.close()
                raise
        return parts

    def _close_collections(self) -> None:
        """Close each, also after one that fails; after an interrupt it may be called again."""
        with ExitStack() as ending:
            ending.callback(self._registry.close)
            for parts in self._parts.values():
                ending.callback(parts.close)
        self._parts.clear()

    def _forget_dropped(self) -> None:
        """Close what other handles have dropped: open files would keep its space on disk."""
        for key, parts in [*self._parts.items()]:
            if parts.store.folder is not None and not parts.store.folder.exists():
                del self._parts[key]
                parts.close()
