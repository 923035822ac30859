"""Brute force with plain loops: what is right, however slow."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from m2m_rag import Fusion


def score(query: Sequence[float], vector: Sequence[float], metric: str) -> float:
    dot = norm_q = norm_x = square = 0.0
    for q, x in zip(query, vector, strict=True):
        q, x = float(q), float(x)
        dot += q * x
        norm_q += q * q
        norm_x += x * x
        difference = q - x
        square += difference * difference
    if metric == "dot":
        return dot
    if metric == "l2":
        return 0.0 - math.sqrt(square)
    scale = math.sqrt(norm_q * norm_x)
    return 0.0 if scale == 0.0 else max(-1.0, min(1.0, dot / scale))


def top_k(
    query: Sequence[float],
    vectors: Sequence[Sequence[float]],
    k: int,
    metric: str,
    allowed: Sequence[bool] | None = None,
) -> list[tuple[int, float]]:
    scored = [
        (row, score(query, vector, metric))
        for row, vector in enumerate(vectors)
        if allowed is None or allowed[row]
    ]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0]))[:k]


def squared_distance(vector: Sequence[float], centroid: Sequence[float]) -> float:
    total = 0.0
    for x, c in zip(vector, centroid, strict=True):
        total += (float(x) - float(c)) * (float(x) - float(c))
    return total


def nearest(vector: Sequence[float], centroids: Sequence[Sequence[float]]) -> int:
    distances = [squared_distance(vector, centroid) for centroid in centroids]
    return distances.index(min(distances))


Ranking = Sequence[tuple[Hashable, float]]


def fused(by_vector: Ranking, by_words: Ranking, fusion: Fusion) -> list[tuple[Any, float]]:
    """Fuse two rankings of rows, or of ids that sort as their rows do."""
    totals: dict[Any, float] = {}
    weights = (0.5, 0.5) if fusion.method == "rrf" else (fusion.alpha, 1.0 - fusion.alpha)
    for ranking, weight in ((by_vector, weights[0]), (by_words, weights[1])):
        for place, (row, score) in enumerate(ranking, start=1):
            if fusion.method == "rrf":
                part = (fusion.rrf_k + 1.0) / (fusion.rrf_k + place)
            elif ranking[0][1] == ranking[-1][1]:
                part = 1.0
            else:
                part = (score - ranking[-1][1]) / (ranking[0][1] - ranking[-1][1])
            totals[row] = totals.get(row, 0.0) + weight * part
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))
