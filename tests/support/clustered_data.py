"""Clustered data, brute force over it, and recall."""

from __future__ import annotations

import numpy as np


def clustered(n, d, seed=0, spread=0.6):
    """Unit vectors around n / 50 centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(2, n // 50), d))
    vectors = centres[rng.integers(len(centres), size=n)] + spread * rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def best(query, vectors, alive, k, metric):
    """Return the k best rows by brute force in float64."""
    wide, x = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "l2":
        values = -np.sqrt(((x - wide) ** 2).sum(axis=1))
    else:
        values = x @ wide
        if metric == "cosine":
            values /= np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(wide), 1e-300)
    values[~alive] = -np.inf
    order = np.lexsort((np.arange(len(values)), -values))
    return order[: min(k, int(alive.sum()))]


def recall(found, truth):
    return float(
        np.mean(
            [
                len(set(a.tolist()) & set(b.tolist())) / len(b)
                for a, b in zip(found, truth, strict=True)
            ]
        )
    )
