"""Reading without a question: by id, all of them, how many."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from langchain_core.documents import Document

from langchain_m2m._arguments import ids_as_list
from langchain_m2m._base import StoreBase
from langchain_m2m._documents import as_document
from langchain_m2m._filters import FilterLike, read_filter
from m2m_rag import Record
from m2m_rag.filters import Filter

_PAGE = 256
"""Records held at once while iterating under a filter."""


class ReadingMethods(StoreBase):
    """The methods that read documents without ranking them."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of `ids`; unknown ones are left out."""
        collection = self._handle.find()
        found = collection.get(ids_as_list(ids)) if collection is not None else []
        return [as_document(record) for record in found]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Do what `get_by_ids` does, in a thread."""
        return await asyncio.to_thread(self.get_by_ids, ids)

    def count(self, filter: FilterLike = None) -> int:
        """Return how many documents match, or how many there are."""
        selection = read_filter(filter)
        collection = self._handle.find()
        if collection is None:
            return 0
        if selection.keep is not None:
            return sum(1 for _ in self.iter_documents(selection.keep))
        return collection.count(selection.where)

    def __len__(self) -> int:
        """Return the number of documents."""
        return self.count()

    def __bool__(self) -> bool:
        """Return True: an empty store is still a store."""
        return True

    def list_ids(self, filter: FilterLike = None) -> list[str]:
        """Return the ids of the documents that match, the one written longest ago first."""
        selection = read_filter(filter)
        collection = self._handle.find()
        if collection is None:
            return []
        if selection.keep is not None:
            return [str(document.id) for document in self.iter_documents(selection.keep)]
        return collection.ids(selection.where)

    def iter_documents(self, filter: FilterLike = None) -> Iterator[Document]:
        """Yield the documents that match one by one, in bounded memory.

        What is written meanwhile may be missed; what does not match any more when its turn comes
        is left out.
        """
        selection = read_filter(filter)
        documents = map(as_document, self._records(selection.where))
        if selection.keep is None:
            return documents
        return (document for document in documents if selection.keep(document))

    def _records(self, where: Filter | None) -> Iterator[Record]:
        collection = self._handle.find()
        if collection is None:
            return
        if where is None:
            yield from collection
            return
        ids: Iterable[str] = iter(collection.ids(where))
        while page := list(islice(ids, _PAGE)):
            yield from collection.get(page, where=where)
