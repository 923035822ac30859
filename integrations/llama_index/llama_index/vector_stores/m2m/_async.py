"""The asynchronous half of the store: every call runs in a worker thread, off the event loop."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)


class AsyncTwins(BasePydanticVectorStore):
    """Asynchronous methods in terms of the synchronous ones, with the same arguments."""

    @abstractmethod
    def replace_ref_doc(self, ref_doc_id: str, nodes: Iterable[BaseNode]) -> list[str]:
        """Swap a document's nodes for these, in one commit."""

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Run `add` off the event loop."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def areplace_ref_doc(self, ref_doc_id: str, nodes: Iterable[BaseNode]) -> list[str]:
        """Run `replace_ref_doc` off the event loop."""
        return await asyncio.to_thread(self.replace_ref_doc, ref_doc_id, nodes)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Run `delete` off the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Run `delete_nodes` off the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aclear(self) -> None:
        """Run `clear` off the event loop."""
        await asyncio.to_thread(self.clear)

    async def aget_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Run `get_nodes` off the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Run `query` off the event loop."""
        return await asyncio.to_thread(self.query, query, **kwargs)
