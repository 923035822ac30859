"""Searching a collection: the best records of one whole commit, through the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, overload

import numpy as np

from m2m_rag._depth import Depth, as_depth
from m2m_rag._handle import WhereLike
from m2m_rag._indexing import Held
from m2m_rag._reading import Reading
from m2m_rag._types import FloatArray, Hit, MaskArray, RowArray, ScoreArray
from m2m_rag.compute.clustered import LOD
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError
from m2m_rag.filters import Filter, parse_where
from m2m_rag.index.fusion import Fusion, fuse
from m2m_rag.inputs import as_count, as_queries, as_text
from m2m_rag.storage.snapshot import Snapshot

Vector1 = Sequence[float] | np.ndarray[tuple[int], np.dtype[Any]]
Vector2 = Sequence[Sequence[float]] | Sequence[FloatArray] | np.ndarray[tuple[int, int], Any]

RANKS = Fusion()
"""How two rankings become one unless told otherwise."""


class Searching(Reading):
    """The searching part of `m2m_rag.Collection`."""

    @overload
    def search(
        self,
        vector: Vector1 | None = ...,
        k: int = ...,
        *,
        text: str | None = ...,
        where: WhereLike = ...,
        include_vectors: bool = ...,
        recall: float | None = ...,
        lod: LOD = ...,
        n_probe: int | None = ...,
        fusion: Fusion = ...,
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
        vector: Any = None,
        k: int = 10,
        *,
        text: str | None = None,
        where: WhereLike = None,
        include_vectors: bool = False,
        recall: float | None = None,
        lod: LOD = 1,
        n_probe: int | None = None,
        fusion: Fusion = RANKS,
    ) -> list[Hit] | list[list[Hit]]:
        """Find the k records with the best score, best first, ties to the older record.

        Below some 5,000 records the answer by vector is exact. Above, it comes through the index,
        to the recall asked for; `lod=2` is always exact.

        Parameters
        ----------
        vector
            One query ``(d,)``, or several ``(m, d)``; None with `text` alone.
        k
            Results wanted, at least 1. When fewer records match, all of them come back.
        text
            Rank by words, too: records whose texts hold any of these words, by BM25. With `text`
            alone the score is BM25's; with a vector as well, both rankings become one (`fusion`).
            Nothing in it acts as a query language.
        where
            Only records that match are considered, in both rankings: with m ≥ k matching records,
            k come back of a search by vector.
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
        fusion
            How a search by vector and text makes one ranking of two; by reciprocal ranks unless
            told otherwise.

        Returns
        -------
        list of Hit, or a list of them for each of several queries.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        depth = as_depth(recall, lod, n_probe)
        parsed = parse_where(where)
        words = None if text is None else as_text(text, "text")
        if not isinstance(fusion, Fusion):
            raise InvalidInputError(f"fusion: expected m2m_rag.Fusion(...), got {fusion!r:.80}.")
        if vector is None and words is None:
            raise InvalidInputError("search() needs a vector, a text, or both.")
        if vector is None:
            with self._snapshot() as snapshot:
                allowed, _ = self._allowed(snapshot, parsed)
                ranked = self._by_words(snapshot, cast(str, words), k, allowed)
                return self._found(snapshot, ranked[0][None], ranked[1][None], include_vectors)[0]
        held = self._parts.indexer.hold()
        with self._snapshot() as snapshot:
            queries, is_single = as_queries(vector, snapshot.state.dimension)
            wanted = k if words is None else max(k, fusion.depth)
            allowed, n_allowed = self._allowed(snapshot, parsed)
            rows, scores = self._among(snapshot, queries, wanted, allowed, n_allowed, depth, held)
            if words is not None:
                if not is_single:
                    raise InvalidInputError("vector: a search by text, too, takes one query (d,).")
                ranked = self._by_words(snapshot, words, wanted, allowed)
                fused = fuse((rows[0], scores[0]), ranked, k, fusion)
                rows, scores = fused[0][None], fused[1][None]
            results = self._found(snapshot, rows, scores, include_vectors)
        return results[0] if is_single else results

    def _among(
        self,
        snapshot: Snapshot,
        queries: FloatArray,
        k: int,
        allowed: MaskArray | None,
        n_allowed: int,
        depth: Depth,
        held: Held,
    ) -> tuple[RowArray, ScoreArray]:
        """Rank the allowed rows of one commit by score, ``(m, min(k, n_allowed))``.

        The index was held before the snapshot was begun.
        """
        if n_allowed == 0 or len(queries) == 0:
            return np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0))
        segments = self._parts.store.segments(snapshot)
        indexer = self._parts.indexer
        held = indexer.fitting(held, snapshot)
        indexer.tend(snapshot)
        return held.hrm2.search(
            queries, k, segments, allowed, n_allowed=n_allowed, state=held.state, **depth._asdict()
        )

    def _by_words(
        self, snapshot: Snapshot, text: str, k: int, allowed: MaskArray | None
    ) -> tuple[RowArray, ScoreArray]:
        """Rank the allowed rows of one commit by BM25."""
        if snapshot.state.tokenizer is None:
            raise InvalidInputError(
                f"text: collection {self._name!r} was created with tokenizer=None, so it has no "
                "full-text index. Search by vector, or create it with another tokenizer."
            )
        best = snapshot.rows_of_words(text, k, allowed)
        rows = np.array([row for row, _ in best], dtype=np.int64)
        return rows, np.array([score for _, score in best], dtype=np.float64)

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

    def _allowed(self, snapshot: Snapshot, where: Filter | None) -> tuple[MaskArray | None, int]:
        """Return which rows may be found, None for all, and how many they are."""
        alive = self._parts.store.liveness.mask(snapshot)
        if where is None:
            return alive, snapshot.n_live
        mask = self._parts.columns.mask(where, snapshot)
        if alive is not None:
            mask = mask & alive
        return mask, int(np.count_nonzero(mask))
