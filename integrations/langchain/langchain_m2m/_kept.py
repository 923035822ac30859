"""Exact search under a Python function of a document, which the engine cannot evaluate itself.

The search is widened until enough hits pass, so k documents come back whenever k pass, in the
order of the scores. It costs a search of the whole collection when few pass: a dictionary filter,
which the engine applies while it searches, is the fast way.
"""

from __future__ import annotations

from langchain_m2m._documents import as_document
from langchain_m2m._embedding import Vector
from langchain_m2m._filters import DocumentTest
from m2m_rag import Collection, Database, Hit
from m2m_rag.config import LIMITS
from m2m_rag.inputs import as_count

_FIRST_WIDTH = 64
_WIDENING = 4


def search_kept(
    collection: Collection,
    vector: Vector,
    k: int,
    keep: DocumentTest,
    *,
    include_vectors: bool = False,
) -> list[Hit]:
    """Return the best k hits whose document passes `keep`."""
    k = as_count(k, "k", least=1, most=LIMITS.k)
    width = min(max(_WIDENING * k, _FIRST_WIDTH), LIMITS.k)
    while True:
        hits = collection.search(vector, width, lod=2, include_vectors=include_vectors)
        kept = [hit for hit in hits if keep(as_document(hit))]
        if len(kept) >= k or len(hits) < width:
            return kept[:k]
        width = min(_WIDENING * width, LIMITS.k)


def search_mmr_kept(
    collection: Collection,
    vector: Vector,
    k: int,
    keep: DocumentTest,
    *,
    fetch_k: int,
    lambda_mult: float,
) -> list[Hit]:
    """Rank the best `fetch_k` hits that pass `keep` by the engine's own MMR, on a scratch copy."""
    fetch_k = as_count(fetch_k, "fetch_k", least=1, most=LIMITS.k)
    candidates = search_kept(collection, vector, fetch_k, keep, include_vectors=True)
    if not candidates:
        return []
    by_id = {hit.id: hit for hit in candidates}
    with Database.in_memory() as scratch:
        pool = scratch.create("pool", metric=collection.metric)
        pool.add([hit.vector for hit in candidates], ids=list(by_id))
        ranked = pool.search_mmr(vector, k, fetch_k=fetch_k, lambda_mult=lambda_mult)
        return [by_id[hit.id] for hit in ranked]
