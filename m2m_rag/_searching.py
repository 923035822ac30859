"""Searching a collection: the best records of one whole commit, through the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

import numpy as np

from m2m_rag._handle import WhereLike
from m2m_rag._reading import Reading
from m2m_rag._types import Condition, FloatArray, Hit, MaskArray, RowArray, ScoreArray, Stage
from m2m_rag.compute.clustered import LOD
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError, RecordNotFoundError
from m2m_rag.index.hrm2.explaining import Explanation
from m2m_rag.index.hrm2.state import State
from m2m_rag.index.mmr import maximal_marginal_relevance
from m2m_rag.inputs import Depth, as_count, as_depth, as_ids, as_queries
from m2m_rag.storage.snapshot import Snapshot

Vector1 = Sequence[float] | np.ndarray[tuple[int], np.dtype[Any]]
Vector2 = Sequence[Sequence[float]] | Sequence[FloatArray] | np.ndarray[tuple[int, int], Any]


class Searching(Reading):
    """The searching part of `m2m_rag.Collection`."""

    @overload
    def search(
        self,
        vector: Vector1,
        k: int = ...,
        *,
        where: WhereLike = ...,
        include_vectors: bool = ...,
        recall: float | None = ...,
        lod: LOD = ...,
        n_probe: int | None = ...,
    ) -> list[Hit]: ...

    @overload
    def search(
        self,
        vector: Vector2,
        k: int = ...,
        *,
        where: WhereLike = ...,
        include_vectors: bool = ...,
        recall: float | None = ...,
        lod: LOD = ...,
        n_probe: int | None = ...,
    ) -> list[list[Hit]]: ...

    def search(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        include_vectors: bool = False,
        recall: float | None = None,
        lod: LOD = 1,
        n_probe: int | None = None,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the k records with the best score, best first, ties to the older record.

        Below some 5,000 records the answer is exact. Above, it comes through the index, to the
        recall asked for; `lod=2` is always exact.

        Parameters
        ----------
        vector
            One query ``(d,)``, or several ``(m, d)``.
        k
            Results wanted, at least 1. When fewer records match, all of them come back.
        where
            Only records that match are considered: with m ≥ k matching records, k come back.
        include_vectors
            Fill `Hit.vector`.
        recall
            The share of the true best k to aim at, above 0 and at most 1; 1 is exact. None: as
            much as some 0.1 ms buys, at least 0.95. What it takes is measured, on the collection's
            own records and on the queries that it gets.
        lod
            Level of detail. 0: from 1-bit codes alone, without reading a vector; scores are
            estimates. 1: to the recall. 2: exact.
        n_probe
            For experts: clusters to probe, instead of what `recall` needs.

        Returns
        -------
        list of Hit, or a list of them for each of several queries.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        depth = as_depth(recall, lod, n_probe)
        parsed = self._condition(where)
        state = self._parts.indexer.index.state
        with self._snapshot() as snapshot:
            queries, is_single = as_queries(vector, snapshot.state.dimension)
            results = self._hits(snapshot, queries, k, parsed, include_vectors, depth, state)
        return results[0] if is_single else results

    def search_mmr(
        self,
        vector: Any,
        k: int = 4,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        where: WhereLike = None,
        include_vectors: bool = False,
    ) -> list[Hit]:
        """Find k records that are near the query and unlike each other.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        k
            Results wanted.
        fetch_k
            The best `fetch_k` records by score are the candidates.
        lambda_mult
            1: relevance alone; 0: diversity alone (Carbonell & Goldstein 1998).
        where
            Only records that match are considered.
        include_vectors
            Fill `Hit.vector`.

        Returns
        -------
        list of Hit
            In the order chosen; `Hit.score` is the score against the query.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        fetch_k = as_count(fetch_k, "fetch_k", least=1, most=LIMITS.k)
        if not isinstance(lambda_mult, (int, float, np.floating)) or not 0.0 <= lambda_mult <= 1.0:
            raise InvalidInputError(f"lambda_mult: expected 0 to 1, got {lambda_mult!r:.80}.")
        parsed = self._condition(where)
        state = self._parts.indexer.index.state
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_mmr takes one query of shape (d,).")
            candidates = self._hits(snapshot, query, fetch_k, parsed, True, Depth(), state)[0]
        if not candidates:
            return []
        vectors = np.stack([cast(FloatArray, hit.vector) for hit in candidates])
        chosen = maximal_marginal_relevance(query[0], vectors, k, float(lambda_mult))
        hits = [candidates[position] for position in chosen]
        return hits if include_vectors else [hit._replace(vector=None) for hit in hits]

    def search_progressive(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        recall: float | None = None,
    ) -> Iterator[Stage]:
        """Yield the answers at LOD 0, 1 and 2 in turn, each as soon as it is known.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        k, where, recall
            As for `search`.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        depth = as_depth(recall, 1, None)
        parsed = self._condition(where)
        index = self._parts.indexer.index
        state = index.state
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_progressive takes one query (d,).")
            if snapshot.state.n_live == 0:
                return
            allowed, _ = self._allowed(snapshot, parsed)
            segments = self._parts.store.segments(snapshot)
        stages = index.search_progressive(
            query[0], k, segments, allowed, recall=depth.recall, state=state
        )
        for stage in stages:
            with self._snapshot() as now:
                hits = self._found(now, stage.rows[None], stage.scores[None], False)[0]
            yield Stage(stage.lod, hits, stage.recall, stage.latency_s)

    def explain(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        id: str | None = None,
        recall: float | None = None,
        lod: LOD = 1,
        n_probe: int | None = None,
    ) -> Explanation:
        """Search, and say how: the way taken, what it cost, and the fate of one record.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        k, where, recall, lod, n_probe
            As for `search`.
        id
            Ask why this record is or is not among the results (`Explanation.why`).

        Raises
        ------
        RecordNotFoundError
            There is no record of that id.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        depth = as_depth(recall, lod, n_probe)
        parsed = self._condition(where)
        index = self._parts.indexer.index
        state = index.state
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single or snapshot.state.n_rows == 0:
                raise InvalidInputError(
                    "vector: explain takes one query (d,) to a collection that holds records."
                )
            row = None
            if id is not None:
                row = snapshot.rows_of(as_ids([id])).get(id)
                if row is None:
                    raise RecordNotFoundError(f"id: there is no record {id!r} in {self._name!r}.")
            allowed, _ = self._allowed(snapshot, parsed)
            segments = self._parts.store.segments(snapshot)
            return index.explain(
                query[0], k, segments, allowed, row=row, state=state, **depth._asdict()
            )

    def _hits(
        self,
        snapshot: Snapshot,
        queries: FloatArray,
        k: int,
        where: Condition | None,
        include_vectors: bool,
        depth: Depth,
        state: State | None,
    ) -> list[list[Hit]]:
        """Search one commit.

        `state` was taken before the snapshot: rows that an index state lacks because they are dead
        are then dead in the snapshot, too.
        """
        n_live = snapshot.state.n_live
        if n_live == 0 or len(queries) == 0:
            return [[] for _ in queries]
        allowed, n_allowed = self._allowed(snapshot, where)
        segments = self._parts.store.segments(snapshot)
        indexer = self._parts.indexer
        indexer.tend(snapshot)
        all_rows, all_scores = indexer.index.search(
            queries, k, segments, allowed, n_allowed=n_allowed, state=state, **depth._asdict()
        )
        return self._found(snapshot, all_rows, all_scores, include_vectors)

    def _found(
        self,
        snapshot: Snapshot,
        all_rows: RowArray,
        all_scores: ScoreArray,
        include_vectors: bool,
    ) -> list[list[Hit]]:
        """Return the records of rows as hits; a row that is dead by now is left out."""
        results = []
        for rows, scores in zip(all_rows, all_scores, strict=True):
            by_row = snapshot.records(rows)
            kept = [
                (by_row[row], score)
                for row, score in zip(rows.tolist(), scores.tolist(), strict=True)
                if row in by_row
            ]
            records = self._records(snapshot, [record for record, _ in kept], include_vectors)
            results.append(
                [
                    Hit(record.id, score, *record[1:])
                    for record, (_, score) in zip(records, kept, strict=True)
                ]
            )
        return results

    def _allowed(self, snapshot: Snapshot, where: Condition | None) -> tuple[MaskArray | None, int]:
        """Return which rows may be found, None for all, and how many they are."""
        if where is None:
            return self._parts.store.liveness.mask(snapshot), snapshot.state.n_live
        rows = snapshot.rows_where(where)
        mask = np.zeros(snapshot.state.n_rows, dtype=np.bool_)
        mask[rows] = True
        return mask, len(rows)
