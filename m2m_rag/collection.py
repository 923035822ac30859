"""A collection: the place where ids, vectors, filters and the index meet."""

from __future__ import annotations

from m2m_rag._exploring import Exploring
from m2m_rag._upkeep import Upkeep
from m2m_rag._writing import Writing


class Collection(Exploring, Writing, Upkeep):
    """A named set of records of one dimension and metric.

    Made by `Database.create` and `Database.open`. Every write is one commit: it is on disk when
    the call returns, whole, or the call raised and nothing changed. Every read sees the newest
    whole commit, of this process or another. Any number of threads may use one collection.

    Examples
    --------
    >>> from m2m_rag import Database
    >>> with Database.in_memory() as db:
    ...     c = db.create("notes", metric="l2")
    ...     _ = c.add([[0.0], [5.0]], ids=["a", "b"], metadatas=[{"year": 2019}, {"year": 2021}])
    ...     [(hit.id, hit.score) for hit in c.search([1.0], where={"year": {"$gte": 2020}})]
    [('b', -4.0)]
    """
