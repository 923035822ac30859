"""Writing: add (upsert by id) and delete, each with its native async twin."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from langchain_core.documents import Document

from langchain_m2m._arguments import (
    Batch,
    batch_of_documents,
    batch_of_texts,
    ids_as_list,
    parts_of,
    reject_unknown,
)
from langchain_m2m._base import StoreBase
from langchain_m2m._documents import as_document
from langchain_m2m._embedding import Vector
from langchain_m2m._filters import FilterLike, read_deleting_filter
from m2m_rag.errors import InvalidInputError

logger = logging.getLogger(__name__)


class WritingMethods(StoreBase):
    """The methods that add and delete."""

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Embed and store texts; an id that exists is replaced whole.

        Parameters
        ----------
        texts, metadatas, ids
            Any iterables of one length, each read once and never changed. A text whose id is
            None gets a new one.
        batch_size
            Embed and commit so many at a time. Each commit is all or nothing; by default
            everything is one commit.

        Returns
        -------
        list of str
            One id for each text, in order; durable when the call returns.

        Raises
        ------
        InvalidInputError, LimitError, EmbedderMismatchError, UnknownArgumentError
            Before anything is embedded or written.
        """
        reject_unknown(self.add_texts, unknown)
        return self._add(batch_of_texts(texts, metadatas, ids), batch_size)

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Do what `add_texts` does, awaiting the embedding's own ``aembed_documents``."""
        reject_unknown(self.aadd_texts, unknown)
        return await self._aadd(batch_of_texts(texts, metadatas, ids), batch_size)

    def add_documents(
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Embed and store documents under `ids`, or else their own ids; see `add_texts`."""
        reject_unknown(self.add_documents, unknown)
        return self._add(batch_of_documents(documents, ids), batch_size)

    async def aadd_documents(
        self,
        documents: Iterable[Document],
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Do what `add_documents` does, awaiting the embedding's own ``aembed_documents``."""
        reject_unknown(self.aadd_documents, unknown)
        return await self._aadd(batch_of_documents(documents, ids), batch_size)

    def add_embeddings(
        self,
        text_embeddings: Iterable[tuple[str, Vector]],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
    ) -> list[str]:
        """Store pairs of a text and its vector; nothing is embedded."""
        pairs = list(text_embeddings)
        batch = batch_of_texts([text for text, _ in pairs], metadatas, ids)
        if pairs:
            self._handle.upsert(batch, [vector for _, vector in pairs])
        return batch.ids

    async def aadd_embeddings(
        self,
        text_embeddings: Iterable[tuple[str, Vector]],
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
    ) -> list[str]:
        """Do what `add_embeddings` does, in a thread."""
        return await asyncio.to_thread(self.add_embeddings, text_embeddings, metadatas, ids=ids)

    def delete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: FilterLike = None,
        delete_all: bool = False,
        **unknown: Any,
    ) -> bool:
        """Delete by ids, by filter (both: what matches both), or everything.

        An id that does not exist is no error. Deleting everything is only done for
        ``delete_all=True``: ``delete([])`` and ``delete(None)`` delete nothing.

        Returns
        -------
        bool
            True.
        """
        reject_unknown(self.delete, unknown)
        selection = read_deleting_filter(filter)
        id_list = None if ids is None else ids_as_list(ids)
        if delete_all and (id_list is not None or filter is not None):
            raise InvalidInputError(
                "delete_all=True deletes everything and takes neither ids nor filter. "
                "Nothing was deleted."
            )
        collection = self._handle.find()
        if collection is None:
            return True
        if delete_all:
            collection.clear()
        elif selection.keep is not None:
            records = collection if id_list is None else collection.get(id_list)
            collection.delete([r.id for r in records if selection.keep(as_document(r))])
        elif id_list is not None or selection.where is not None:
            collection.delete(id_list, where=selection.where)
        else:
            logger.warning("delete() without ids, filter or delete_all=True deletes nothing")
        return True

    async def adelete(
        self,
        ids: Iterable[str] | None = None,
        *,
        filter: FilterLike = None,
        delete_all: bool = False,
        **unknown: Any,
    ) -> bool:
        """Do what `delete` does, in a thread."""
        reject_unknown(self.adelete, unknown)
        return await asyncio.to_thread(self.delete, ids, filter=filter, delete_all=delete_all)

    def _add(self, batch: Batch, batch_size: int | None) -> list[str]:
        embedding = self._require_embedding()
        parts = list(parts_of(batch, batch_size))
        if parts:
            self._prepare_writing(batch)
        for part in parts:
            self._handle.upsert(part, embedding.embed_documents(part.texts))
        return batch.ids

    async def _aadd(self, batch: Batch, batch_size: int | None) -> list[str]:
        embedding = self._require_embedding()
        parts = list(parts_of(batch, batch_size))
        if parts:
            await asyncio.to_thread(self._prepare_writing, batch)
        for part in parts:
            vectors = await embedding.aembed_documents(part.texts)
            await asyncio.to_thread(self._handle.upsert, part, vectors)
        return batch.ids
