"""Searching beyond the best k: diverse, by groups, in stages, and explained."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np

from m2m_rag._depth import Depth, as_depth
from m2m_rag._handle import WhereLike
from m2m_rag._iterating import Items, Iteration
from m2m_rag._searching import Searching
from m2m_rag._types import FloatArray, Hit, HitGroup, Stage
from m2m_rag.compute.clustered import LOD
from m2m_rag.config import LIMITS
from m2m_rag.errors import InvalidInputError, RecordNotFoundError, shown
from m2m_rag.filters import check_path, parse_where
from m2m_rag.index.hrm2.explaining import Explanation
from m2m_rag.index.mmr import maximal_marginal_relevance
from m2m_rag.inputs import as_count, as_ids, as_queries


class Exploring(Searching):
    """The exploring part of `m2m_rag.Collection`."""

    def search_mmr(
        self,
        vector: Any,
        k: int = 4,
        *,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        diverse_from: Literal["all", "last"] = "all",
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
        diverse_from
            Each result is unlike ``"all"`` before it, as there and in LangChain, or unlike the
            ``"last"`` one, as in LlamaIndex.
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
            raise InvalidInputError(f"lambda_mult: expected 0 to 1, got {shown(lambda_mult)}.")
        if diverse_from not in ("all", "last"):
            raise InvalidInputError(
                f"diverse_from: expected 'all' or 'last', got {shown(diverse_from)}."
            )
        parsed = parse_where(where)
        held = self._parts.indexer.hold()
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_mmr takes one query of shape (d,).")
            allowed, n_allowed = self._allowed(snapshot, parsed)
            rows, scores = self._among(snapshot, query, fetch_k, allowed, n_allowed, Depth(), held)
            candidates = self._found(snapshot, rows, scores, True)[0]
        if not candidates:
            return []
        vectors = np.stack([cast(FloatArray, hit.vector) for hit in candidates])
        chosen = maximal_marginal_relevance(query[0], vectors, k, float(lambda_mult), diverse_from)
        hits = [candidates[position] for position in chosen]
        return hits if include_vectors else [hit._replace(vector=None) for hit in hits]

    def search_groups(
        self,
        vector: Any,
        by: str,
        k: int = 10,
        *,
        group_size: int = 3,
        where: WhereLike = None,
        include_vectors: bool = False,
        recall: float | None = None,
    ) -> list[HitGroup]:
        """Find the k groups of records whose best member has the best score.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        by
            The metadata path whose equal values make a group, such as a document's id. Records
            without it are left out.
        k, group_size
            Groups wanted, and hits of each at most.
        where, include_vectors, recall
            As for `search`.
        """
        k = as_count(k, "k", least=1, most=LIMITS.k)
        group_size = as_count(group_size, "group_size", least=1, most=LIMITS.k)
        path, parsed = check_path(by, "by"), parse_where(where)
        depth = as_depth(recall, 1, None)
        held = self._parts.indexer.hold()
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_groups takes one query of shape (d,).")
            numbers, values = self._parts.columns.numbered(path, snapshot)
            allowed, _ = self._allowed(snapshot, parsed)
            allowed = numbers > 0 if allowed is None else allowed & (numbers > 0)
            left, chosen = allowed.copy(), dict[int, None]()
            while len(chosen) < k:
                n_left = int(np.count_nonzero(left))
                if not n_left:
                    break
                rows, _ = self._among(snapshot, query, k * group_size, left, n_left, depth, held)
                chosen |= dict.fromkeys(numbers[rows[0]].tolist())
                left[np.isin(numbers, list(chosen))] = False
            groups = []
            for number in list(chosen)[:k]:
                members = allowed & (numbers == number)
                n_members = int(np.count_nonzero(members))
                best = self._among(snapshot, query, group_size, members, n_members, depth, held)
                hits = self._found(snapshot, *best, include_vectors)[0]
                groups.append(HitGroup(values[number], hits))
        return sorted(groups, key=lambda group: -group.hits[0].score)

    def search_progressive(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        recall: float | None = None,
    ) -> Iteration[Stage]:
        """Yield the answers at LOD 0, 1 and 2 in turn, each as soon as it is known.

        Parameters
        ----------
        vector
            One query ``(d,)``.
        k, where, recall
            As for `search`.
        """
        stages = self._stages(vector, k, where, recall)
        return self._parts.iterations.start(stages, self._check_open, holds_connection=False)

    def _stages(self, vector: Any, k: int, where: WhereLike, recall: float | None) -> Items[Stage]:
        k = as_count(k, "k", least=1, most=LIMITS.k)
        depth = as_depth(recall, 1, None)
        parsed = parse_where(where)
        held = self._parts.indexer.hold()
        with self._snapshot() as snapshot:
            query, is_single = as_queries(vector, snapshot.state.dimension)
            if not is_single:
                raise InvalidInputError("vector: search_progressive takes one query (d,).")
            if snapshot.n_live == 0:
                return
            segments = self._parts.store.segments(snapshot)
            allowed, _ = self._allowed(snapshot, parsed)
            held = self._parts.indexer.fitting(held, snapshot)
        stages = held.hrm2.search_progressive(
            query[0], k, segments, allowed, recall=depth.recall, state=held.state
        )
        for stage in stages:
            with self._snapshot() as now:
                is_compacted = now.state.generation != held.generation
                if not is_compacted:
                    hits = self._found(now, stage.rows[None], stage.scores[None], False)[0]
            if is_compacted:  # the rows have other numbers: search what is there now
                again = self._stages(vector, k, where, recall)
                yield from (later for later in again if later.lod >= stage.lod)
                return
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
        parsed = parse_where(where)
        held = self._parts.indexer.hold()
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
            segments = self._parts.store.segments(snapshot)
            allowed, _ = self._allowed(snapshot, parsed)
            held = self._parts.indexer.fitting(held, snapshot)
            return held.hrm2.explain(
                query[0], k, segments, allowed, row=row, state=held.state, **depth._asdict()
            )
