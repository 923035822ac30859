"""A `VectorStoreQuery` planned and answered: what isn't supported raises and is named.

``node_ids=None`` and ``[]`` restrict nothing: LlamaIndex's retriever sends ``[]`` for every store
that keeps its own text. ``doc_ids=[]`` is the caller's empty list of documents: nothing matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.m2m._filters import all_of, of_documents, of_nodes, to_where
from llama_index.vector_stores.m2m._nodes import NodeReader

from m2m_rag import Collection, Fusion
from m2m_rag.errors import InvalidInputError, unknown_argument
from m2m_rag.filters import Filter

_MMR_ARGUMENTS = ("mmr_threshold", "mmr_prefetch_k")
_WORD_MODES = (VectorStoreQueryMode.TEXT_SEARCH, VectorStoreQueryMode.SPARSE)
_MODES = (
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.MMR,
    VectorStoreQueryMode.HYBRID,
    *_WORD_MODES,
)
_FIELD_MODES = {
    "alpha": (VectorStoreQueryMode.HYBRID,),
    "hybrid_top_k": (VectorStoreQueryMode.HYBRID,),
    "sparse_top_k": (VectorStoreQueryMode.HYBRID, *_WORD_MODES),
    "output_fields": (),
    "embedding_field": (),
}
"""Fields of a query that mean something in some modes only, or in none."""


class MMR(NamedTuple):
    """How a maximal-marginal-relevance query weighs: `threshold` 1 is relevance alone.

    As by LlamaIndex's own function, a node is compared with the one chosen last alone.
    """

    threshold: float
    fetch_k: int


class QueryPlan(NamedTuple):
    """What to ask of the collection; without vector and text, the first `k` rows that match."""

    vector: list[float] | None
    text: str | None
    k: int
    where: Filter | None
    mmr: MMR | None
    fusion: Fusion


def plan_query(query: VectorStoreQuery, arguments: Mapping[str, Any]) -> QueryPlan:
    """Decide how a query is answered.

    Parameters
    ----------
    query
        Mode DEFAULT, MMR, HYBRID, TEXT_SEARCH or SPARSE.
    arguments
        Keyword arguments of `M2MVectorStore.query`; they win over the query's fields.

    Raises
    ------
    InvalidInputError
        An unsupported mode, a field that the mode does not have, a missing embedding or
        query_str, a threshold or alpha outside [0, 1].
    UnknownArgumentError
        A keyword argument that this mode does not have.
    """
    mode = _mode(query)
    known = _MMR_ARGUMENTS if mode is VectorStoreQueryMode.MMR else ()
    for name in arguments:
        if name not in known:
            raise unknown_argument(f"M2MVectorStore.query in mode {mode.value}", name, known)
    _check_fields(query, mode)
    node_ids = as_ids("node_ids", query.node_ids)
    doc_ids = as_ids("doc_ids", query.doc_ids)
    where = all_of(
        to_where(query.filters),
        of_nodes(node_ids) if node_ids else None,
        of_documents(doc_ids) if doc_ids is not None else None,
    )
    mmr = _mmr(query, arguments) if mode is VectorStoreQueryMode.MMR else None
    vector = None if mode in _WORD_MODES else query.query_embedding
    text = query.query_str if mode is VectorStoreQueryMode.HYBRID or mode in _WORD_MODES else None
    is_selection = mode is VectorStoreQueryMode.DEFAULT and where is not None
    if vector is None and mode not in _WORD_MODES and not is_selection:
        raise InvalidInputError(
            f"the query has no query_embedding; expected one in mode {mode.value}, unless filters, "
            "doc_ids or node_ids select the nodes in mode default"
        )
    if vector is not None and np.ndim(vector) != 1:
        raise InvalidInputError(
            f"query_embedding has {np.ndim(vector)} dimensions; expected one vector"
        )
    return QueryPlan(vector, text, _k(query, mode), where, mmr, _fusion(query))


def run_query(plan: QueryPlan, collection: Collection) -> VectorStoreQueryResult:
    """Answer a planned query: three plain lists of one length, best first.

    ``similarities`` are the collection's scores (higher is better), in MMR order too: of the
    metric, of BM25 where words alone are asked for, or the fused ones, from 0 to 1. Where nodes
    are only selected, there is nothing to be similar to, so they are 0.
    """
    reader = NodeReader()
    if plan.k == 0:
        return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])
    if plan.vector is None and plan.text is None:
        records = collection.get(where=plan.where, limit=plan.k)
        return VectorStoreQueryResult(
            nodes=[reader.read(record) for record in records],
            similarities=[0.0] * len(records),
            ids=[record.id for record in records],
        )
    if plan.vector is None or plan.mmr is None:
        hits = collection.search(
            plan.vector, plan.k, text=plan.text, where=plan.where, fusion=plan.fusion
        )
    else:
        hits = collection.search_mmr(
            plan.vector,
            plan.k,
            fetch_k=plan.mmr.fetch_k,
            lambda_mult=plan.mmr.threshold,
            diverse_from="last",
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
    if query.mode in _MODES:
        return VectorStoreQueryMode(query.mode)
    mode = getattr(query.mode, "value", query.mode)
    supported = ", ".join(repr(known.value) for known in _MODES)
    raise InvalidInputError(f"the query mode {mode!r} is not supported; supported: {supported}")


def _check_fields(query: VectorStoreQuery, mode: VectorStoreQueryMode) -> None:
    """Refuse what this mode would not look at, and words that are missing."""
    for field, modes in _FIELD_MODES.items():
        value = getattr(query, field)
        if value is None or mode in modes:
            continue
        means = "nodes come back whole, and each has one embedding"
        if modes:
            means = "it means something in mode " + " or ".join(known.value for known in modes)
        raise InvalidInputError(
            f"VectorStoreQuery.{field}={value!r} is not supported in mode {mode.value}; leave it "
            f"None: {means}"
        )
    if query.query_str is None and (mode is VectorStoreQueryMode.HYBRID or mode in _WORD_MODES):
        raise InvalidInputError(
            f"the query has no query_str; mode {mode.value} ranks by its words, so expected a text"
        )
    if query.sparse_top_k is not None and query.sparse_top_k < 1:
        raise InvalidInputError(
            f"sparse_top_k is {query.sparse_top_k!r}; expected a number above 0, or None"
        )


def _k(query: VectorStoreQuery, mode: VectorStoreQueryMode) -> int:
    wanted = query.hybrid_top_k if mode is VectorStoreQueryMode.HYBRID else None
    if mode in _WORD_MODES:
        wanted = query.sparse_top_k
    return query.similarity_top_k if wanted is None else wanted


def _fusion(query: VectorStoreQuery) -> Fusion:
    """By ranks, or by weights when the query has some; `sparse_top_k` is the depth of both."""
    fusion = Fusion() if query.alpha is None else Fusion("alpha", alpha=query.alpha)
    return fusion if query.sparse_top_k is None else replace(fusion, depth=query.sparse_top_k)


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
