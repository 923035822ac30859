"""The vector store: LlamaIndex's calls in terms of one m2m_rag collection."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.retrievers import VectorIndexRetriever
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.m2m._filters import of_document, to_where
from llama_index.vector_stores.m2m._keys import DOC_KEY
from llama_index.vector_stores.m2m._lifecycle import Metric, StoreLifecycle, open_collection
from llama_index.vector_stores.m2m._nodes import NodeReader, to_parts
from llama_index.vector_stores.m2m._query import as_ids, plan_query, run_query

from m2m_rag.errors import (
    DimensionError,
    InvalidInputError,
    unknown_argument,
)

_RETRIEVER_ARGUMENTS = (
    "vector_store_query_mode",
    "alpha",
    "sparse_top_k",
    "hybrid_top_k",
    "filters",
    "node_ids",
    "doc_ids",
    "vector_store_kwargs",
    "object_map",
    "callback_manager",
    "verbose",
)


class M2MVectorStore(StoreLifecycle):
    """A LlamaIndex vector store in one m2m_rag collection, in memory or in a folder.

    Nodes are kept whole: class, text, nested metadata, relationships, templates, embedding. What
    was written is durable when the call returns, and visible to every reader at once. Methods
    may be called from any thread.

    Parameters
    ----------
    path
        Folder of the database, made when missing; None keeps everything in memory.
    collection_name
        The collection in it; an existing one is reopened.
    metric
        ``"cosine"``, ``"dot"`` or ``"l2"`` (whose scores are negative distances); None takes the
        existing collection's, or cosine.
    embedder
        Name of the embedding model, such as ``embed_model.model_name``. It is stored once, and
        opening the collection with another name raises.

    Raises
    ------
    CollectionExistsError
        The collection exists with another metric.
    EmbedderMismatchError
        The collection was filled by another embedding model.
    UnknownArgumentError
        An argument that does not exist.

    Examples
    --------
    >>> from llama_index.core.schema import TextNode
    >>> with M2MVectorStore() as store:
    ...     store.add([TextNode(id_="a", text="hello", embedding=[1.0, 0.0])])
    ['a']
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        collection_name: str = "llama_index",
        metric: Metric | None = "cosine",
        *,
        embedder: str | None = None,
        **unknown: Any,
    ) -> None:
        collection, fields = open_collection(path, collection_name, metric, embedder, unknown)
        super().__init__(**fields)
        self._collection = collection

    def add(self, nodes: Iterable[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes, replacing those of the same id: all of them or, on an error, none.

        Parameters
        ----------
        nodes
            Any iterable of nodes with embeddings; of nodes with one id, the last wins.

        Returns
        -------
        list of str
            The ids, in the order given.
        """
        _refuse("add", kwargs)
        return self._upsert(nodes, None)

    def replace_ref_doc(self, ref_doc_id: str, nodes: Iterable[BaseNode]) -> list[str]:
        """Swap a document's nodes for these, in one commit.

        Unlike a `delete` followed by an `add`, it never leaves the document missing.

        Parameters
        ----------
        ref_doc_id
            The document's id.
        nodes
            Its new nodes, with embeddings. Without any, the document's nodes are deleted.

        Raises
        ------
        InvalidInputError
            A node belongs to another document.
        """
        nodes = list(nodes)
        for node in nodes:
            if isinstance(node, BaseNode) and (node.ref_doc_id or node.node_id) != ref_doc_id:
                raise InvalidInputError(
                    f"node {node.node_id!r} belongs to document "
                    f"{node.ref_doc_id or node.node_id!r}; expected {ref_doc_id!r}. Set its SOURCE "
                    "relationship, or store it with add"
                )
        return self._upsert(nodes, ref_doc_id)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document, or the source-less node of that id.

        None or an unknown id changes nothing.
        """
        _refuse("delete", delete_kwargs)
        if ref_doc_id is not None:
            self._collection.delete(where=of_document(ref_doc_id))

    def delete_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
        **delete_kwargs: Any,
    ) -> None:
        """Delete the nodes of these ids that match the filters.

        Without either, or with an empty list of ids, nothing is deleted; `clear` deletes all.
        """
        _refuse("delete_nodes", delete_kwargs)
        ids, where = as_ids("node_ids", node_ids), to_where(filters)
        if ids is not None or where is not None:
            self._collection.delete(ids, where=where)

    def clear(self) -> None:
        """Delete all nodes; the store stays usable."""
        self._collection.clear()

    def get_nodes(
        self,
        node_ids: list[str] | None = None,
        filters: MetadataFilters | None = None,
    ) -> list[BaseNode]:
        """Return nodes with their embeddings.

        Parameters
        ----------
        node_ids
            Ids in the order wanted, unknown ones are skipped; None means all, in the order in
            which they were stored.
        filters
            Only nodes that match.
        """
        reader = NodeReader()
        records = self._collection.get(
            as_ids("node_ids", node_ids), where=to_where(filters), include_vectors=True
        )
        return [reader.read(record) for record in records]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the nodes that answer a query, best first.

        In modes DEFAULT and MMR, those nearest to its embedding. The similarities are the true
        scores of the collection's metric: cosine in [-1, 1], dot product, or minus the distance.
        In mode DEFAULT a query without an embedding returns nodes that its filters, doc_ids or
        node_ids select, with similarity 0.

        In modes TEXT_SEARCH and SPARSE, those whose texts hold words of ``query_str``, by BM25,
        without an embedding. In mode HYBRID both rankings become one, with similarities from 0
        to 1: by reciprocal ranks, or with ``alpha`` by weights (1 is the embedding alone, 0 the
        words alone). See `m2m_rag.Fusion`.

        Parameters
        ----------
        query
            ``node_ids`` None or ``[]`` restricts nothing; ``doc_ids=[]`` matches nothing.
            ``sparse_top_k`` is how many nodes modes TEXT_SEARCH and SPARSE return, and
            ``hybrid_top_k`` how many mode HYBRID does; ``similarity_top_k`` when None. In mode
            HYBRID, ``sparse_top_k`` is how many candidates either ranking has, 100 when None, and
            never fewer than are returned.
        kwargs
            In mode MMR: ``mmr_threshold`` in [0, 1] (1 is relevance alone, by default the query's,
            or 0.5) and ``mmr_prefetch_k``, the number of candidates.

        Raises
        ------
        InvalidInputError
            An unsupported mode, a field that the mode does not have, a missing embedding or
            ``query_str``; also for a wrong dimension.
        InvalidFilterError
            A filter that can't be answered exactly.
        UnknownArgumentError
            A keyword argument that the mode does not have.
        """
        return run_query(plan_query(query, kwargs), self._collection)

    def count(self, filters: MetadataFilters | None = None) -> int:
        """Return the number of nodes that match."""
        return self._collection.count(to_where(filters))

    def list_ref_docs(self) -> list[str]:
        """Return the ids of the documents that have nodes here (a source-less node's own id)."""
        return sorted(self._collection.distinct(DOC_KEY))

    def as_retriever(
        self,
        embed_model: BaseEmbedding | None = None,
        similarity_top_k: int = 2,
        **kwargs: Any,
    ) -> VectorIndexRetriever:
        """Return a retriever over everything stored here, whatever an index remembers.

        An index that was given an `IndexNode` or `ImageNode` restricts its own ``as_retriever()``
        to such nodes; this one has no such restriction.

        Parameters
        ----------
        embed_model
            The embedding model for queries; None takes LlamaIndex's ``Settings.embed_model``.
        similarity_top_k
            Number of nodes to return.
        kwargs
            Further arguments of `VectorIndexRetriever`, such as ``filters``,
            ``vector_store_query_mode`` or ``alpha``.
        """
        for name in kwargs:
            if name not in _RETRIEVER_ARGUMENTS:
                raise unknown_argument("M2MVectorStore.as_retriever", name, _RETRIEVER_ARGUMENTS)
        index = VectorStoreIndex.from_vector_store(self, embed_model=embed_model)
        return VectorIndexRetriever(index, similarity_top_k=similarity_top_k, **kwargs)

    def _upsert(self, nodes: Iterable[BaseNode], ref_doc_id: str | None) -> list[str]:
        parts = [to_parts(node) for node in nodes]
        dimension = self._collection.dimension or len(parts[0].vector if parts else ())
        for part in parts:
            if len(part.vector) != dimension:
                raise DimensionError(
                    f"node {part.id!r} has an embedding of {len(part.vector)} numbers; expected "
                    f"{dimension}, as the collection's other nodes (embedding model: "
                    f"{self._collection.embedder or 'not recorded'}). Use the embedding model "
                    "that filled it, or another collection_name"
                )
        report = self._collection.upsert(
            [part.vector for part in parts],
            ids=[part.id for part in parts],
            texts=[part.text for part in parts],
            metadatas=[part.metadata for part in parts],
            replace_where=None if ref_doc_id is None else of_document(ref_doc_id),
        )
        return report.ids


def _refuse(method: str, kwargs: dict[str, Any]) -> None:
    for name in kwargs:
        raise unknown_argument(f"M2MVectorStore.{method}", name, ())
