"""A `VectorStoreQuery` planned and answered: what isn't supported raises and is named.

``node_ids=None`` and ``[]`` restrict nothing: LlamaIndex's retriever sends ``[]`` for every store
that keeps its own text. ``doc_ids=[]`` is the caller's empty list of documents: nothing matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.m2m._filters import all_of, of_documents, of_nodes, to_where
from llama_index.vector_stores.m2m._nodes import NodeReader

from m2m_rag import Collection
from m2m_rag.errors import InvalidInputError, unknown_argument
from m2m_rag.filters import Filter

_MMR_ARGUMENTS = ("mmr_threshold", "mmr_prefetch_k")


class MMR(NamedTuple):
    """How a maximal-marginal-relevance query weighs: `threshold` 1 is relevance alone."""

    threshold: float
    fetch_k: int


class QueryPlan(NamedTuple):
    """What to ask of the collection; without a vector, the first `k` rows that match."""

    vector: list[float] | None
    k: int
    where: Filter | None
    mmr: MMR | None


def plan_query(query: VectorStoreQuery, arguments: Mapping[str, Any]) -> QueryPlan:
    """Decide how a query is answered.

    Parameters
    ----------
    query
        Mode DEFAULT or MMR.
    arguments
        Keyword arguments of `M2MVectorStore.query`; they win over the query's fields.

    Raises
    ------
    InvalidInputError
        An unsupported mode or field, a missing embedding, a threshold outside [0, 1].
    UnknownArgumentError
        A keyword argument that this mode does not have.
    """
    mode = _mode(query)
    known = _MMR_ARGUMENTS if mode is VectorStoreQueryMode.MMR else ()
    for name in arguments:
        if name not in known:
            raise unknown_argument(f"M2MVectorStore.query in mode {mode.value}", name, known)
    for field in ("output_fields", "embedding_field"):
        if getattr(query, field) is not None:
            raise InvalidInputError(
                f"VectorStoreQuery.{field}={getattr(query, field)!r} is not supported; leave it "
                "None: nodes come back whole, and each has one embedding"
            )
    node_ids = as_ids("node_ids", query.node_ids)
    doc_ids = as_ids("doc_ids", query.doc_ids)
    where = all_of(
        to_where(query.filters),
        of_nodes(node_ids) if node_ids else None,
        of_documents(doc_ids) if doc_ids is not None else None,
    )
    mmr = _mmr(query, arguments) if mode is VectorStoreQueryMode.MMR else None
    if query.query_embedding is None and (mmr is not None or where is None):
        raise InvalidInputError(
            f"the query has no query_embedding; expected one in mode {mode.value}, unless filters, "
            "doc_ids or node_ids select the nodes in mode default"
        )
    if query.query_embedding is not None and np.ndim(query.query_embedding) != 1:
        raise InvalidInputError(
            f"query_embedding has {np.ndim(query.query_embedding)} dimensions; expected one vector"
        )
    return QueryPlan(query.query_embedding, query.similarity_top_k, where, mmr)


def run_query(plan: QueryPlan, collection: Collection) -> VectorStoreQueryResult:
    """Answer a planned query: three plain lists of one length, best first.

    ``similarities`` are the collection's scores (higher is better), in MMR order too; without a
    query vector there is nothing to be similar to, so they are 0.
    """
    reader = NodeReader()
    if plan.k == 0:
        return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
    if plan.vector is None:
        records = collection.get(where=plan.where, limit=plan.k)
        return VectorStoreQueryResult(
            nodes=[reader.read(record) for record in records],
            similarities=[0.0] * len(records),
            ids=[record.id for record in records],
        )
    if plan.mmr is None:
        hits = collection.search(plan.vector, plan.k, where=plan.where)
    else:
        hits = collection.search_mmr(
            plan.vector,
            plan.k,
            fetch_k=plan.mmr.fetch_k,
            lambda_mult=plan.mmr.threshold,
            where=plan.where,
        )
    return VectorStoreQueryResult(
        nodes=[reader.read(hit) for hit in hits],
        similarities=[float(hit.score) for hit in hits],
        ids=[hit.id for hit in hits],
    )


def as_ids(name: str, ids: Iterable[str] | None) -> list[str] | None:
    """Return ids as a list, refusing a bare string, which would be read letter by letter."""
    if isinstance(ids, str):
        raise InvalidInputError(f"{name} is the string {ids!r}; expected a list: [{ids!r}]")
    return None if ids is None else list(ids)


def _mode(query: VectorStoreQuery) -> VectorStoreQueryMode:
    if query.mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        return VectorStoreQueryMode(query.mode)
    mode = getattr(query.mode, "value", query.mode)
    raise InvalidInputError(
        f"the query mode {mode!r} is not supported; supported: 'default' and 'mmr'"
    )


def _mmr(query: VectorStoreQuery, arguments: Mapping[str, Any]) -> MMR:
    threshold = arguments.get("mmr_threshold")
    if threshold is None:
        threshold = 0.5 if query.mmr_threshold is None else query.mmr_threshold
    if not 0.0 <= threshold <= 1.0:
        raise InvalidInputError(
            f"mmr_threshold is {threshold!r}; expected a number from 0 (diversity alone) to 1 "
            "(relevance alone)"
        )
    fetch_k = arguments.get("mmr_prefetch_k")
    if fetch_k is None:
        fetch_k = max(20, 4 * query.similarity_top_k)
    return MMR(threshold, max(fetch_k, query.similarity_top_k))
