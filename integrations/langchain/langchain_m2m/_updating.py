"""Updating: new text or metadata under existing ids, embedding only the texts that changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from langchain_core.documents import Document

from langchain_m2m._arguments import Batch, batch_of_documents, ids_as_list
from langchain_m2m._base import StoreBase
from langchain_m2m._embedding import Vector, check_vectors
from m2m_rag import Record
from m2m_rag.errors import RecordNotFoundError


class UpdatingMethods(StoreBase):
    """The methods that change records in place."""

    def update_documents(self, ids: Iterable[str], documents: Iterable[Document]) -> None:
        """Replace text and metadata of existing ids, in one commit.

        Only texts that changed are embedded, so changing metadata needs no embedding at all.
        The splats' alpha and kappa stay, and the moment at which a document expires. A document
        that is deleted while the new texts are embedded stays deleted.

        Raises
        ------
        RecordNotFoundError
            When an id does not exist; nothing was changed.
        """
        plan = self._plan_update(ids, documents)
        texts = plan.texts_to_embed
        fresh = self._require_embedding().embed_documents(texts) if texts else []
        self._write_update(plan, fresh)

    async def aupdate_documents(self, ids: Iterable[str], documents: Iterable[Document]) -> None:
        """Do what `update_documents` does, awaiting the embedding's own ``aembed_documents``."""
        plan = await asyncio.to_thread(self._plan_update, ids, documents)
        texts = plan.texts_to_embed
        fresh = await self._require_embedding().aembed_documents(texts) if texts else []
        await asyncio.to_thread(self._write_update, plan, fresh)

    def _plan_update(self, ids: Iterable[str], documents: Iterable[Document]) -> _Update:
        batch = batch_of_documents(documents, ids_as_list(ids))
        collection = self._handle.find()
        stored = collection.get(batch.ids, include_vectors=True) if collection is not None else []
        known = {record.id: record for record in stored}
        missing = [given for given in batch.ids if given not in known]
        if missing:
            raise RecordNotFoundError(
                f"{len(missing)} of {len(batch.ids)} ids do not exist, the first is "
                f"{missing[0]!r}. Nothing was changed; add_documents adds new ones."
            )
        plan = _Update(batch, [known[given] for given in batch.ids])
        if plan.texts_to_embed:
            self._prepare_writing(batch)
        return plan

    def _write_update(self, plan: _Update, fresh: Sequence[Vector]) -> None:
        check_vectors(fresh, len(plan.texts_to_embed))
        remaining = iter(fresh)
        vectors = [
            record.vector if record.text == text and record.vector is not None else next(remaining)
            for text, record in zip(plan.batch.texts, plan.records, strict=True)
        ]
        if vectors:
            self._handle.ensure().upsert(
                vectors,
                ids=plan.batch.ids,
                texts=plan.batch.texts,
                metadatas=plan.batch.metadatas,
                alphas=[record.alpha for record in plan.records],
                kappas=[record.kappa for record in plan.records],
                expires_at=[record.expires_at for record in plan.records],
                only="existing",
            )


class _Update(NamedTuple):
    """New texts and metadatas beside the records that they replace."""

    batch: Batch
    records: list[Record]

    @property
    def texts_to_embed(self) -> list[str]:
        return [
            text
            for text, record in zip(self.batch.texts, self.records, strict=True)
            if record.text != text
        ]
