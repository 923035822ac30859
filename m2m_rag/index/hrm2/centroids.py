"""Fine centroids: their 8-bit form, facts and codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, Metric, RowArray, ScoreArray
from m2m_rag.compute.clustered import (
    FACT,
    LANES,
    WORD_BITS,
    ByteArray,
    Codes,
    Facts,
    NumberArray,
    empty_blocks,
    put_codes,
)
from m2m_rag.index.hrm2.state import BuildBackend, Space
from m2m_rag.quantization import to_int8

LEAST_LENGTH = 2.0**-60
"""Clusters of shorter vectors are ranked as if they were so long: the inverse stays a float32."""


def describe(
    directions: FloatArray, lengths: ScoreArray, space: Space, backend: BuildBackend
) -> tuple[NDArray[np.int8], FloatArray]:
    """Return the 8-bit form and the facts of clusters that hold no codes yet.

    `directions` are not rotated; `lengths` are the mean lengths of the clusters' rows.
    """
    levels, scale = to_int8(space.rotate(directions, backend))
    centroids = levels * scale[:, None]
    facts = np.zeros((len(Facts()), len(levels)), dtype=np.float32)
    facts[FACT.norm2] = np.einsum("ij,ij->i", centroids, centroids, dtype=np.float64)
    facts[FACT.key_scale] = scale
    facts[FACT.length] = 1.0
    facts[FACT.share] = 1.0
    if space.metric == "l2":
        facts[FACT.key_bias] = facts[FACT.norm2] / -2.0
    else:
        facts[FACT.norm2][facts[FACT.norm2] == 0.0] = 1.0  # nothing lies along a zero centroid
    if space.metric == "dot":
        shown = np.where(lengths > 0.0, np.maximum(lengths, LEAST_LENGTH), 1.0)
        facts[FACT.key_scale] *= shown
        facts[FACT.length] /= shown
    return levels, facts


def note_codes(
    facts: FloatArray,
    sizes: RowArray | NumberArray,
    codes: Codes,
    offset: FloatArray,
    labels: RowArray,
    metric: Metric,
) -> None:
    """Bring the facts up to date with codes that come to clusters of `sizes` codes.

    `offset` is that of the codes; `labels` are their clusters.
    """
    np.maximum.at(facts[FACT.sign_sum], labels, np.abs(codes.turned))
    np.minimum.at(facts[FACT.share], labels, codes.share)
    n_fine = facts.shape[1]
    scale = codes.scale.astype(np.float64)
    norm2 = scale**2 * codes.share * (codes.words.shape[1] * WORD_BITS)
    more = np.bincount(labels, minlength=n_fine)
    changed = more > 0
    total = np.maximum(sizes + more, 1)[changed]
    widths = np.square(facts[FACT.width], dtype=np.float64) * sizes
    widths = (widths + np.bincount(labels, norm2, minlength=n_fine))[changed] / total
    facts[FACT.width, changed] = np.sqrt(widths)
    if metric == "l2":
        facts[FACT.middle, changed] = (facts[FACT.norm2, changed] + widths) / -2.0
        return
    along = offset + scale * codes.turned / facts[FACT.norm2, labels]
    middles = facts[FACT.middle].astype(np.float64) * sizes
    middles += np.bincount(labels, along, minlength=n_fine)
    facts[FACT.middle, changed] = middles[changed] / total


def code_centroids(
    levels: NDArray[np.int8], facts: FloatArray, coarse_of: RowArray, backend: BuildBackend
) -> tuple[FloatArray, NumberArray, ByteArray, NumberArray]:
    """Code the fine centroids, as keys, against the means of their coarse clusters."""
    keys = levels.astype(np.float32) * facts[FACT.key_scale][:, None]
    n_coarse = int(coarse_of[-1]) + 1
    sums, sizes = backend.cluster_sums(keys, coarse_of, n_coarse)
    coarse = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    codes = backend.encode(keys, coarse, coarse_of)
    first = np.concatenate([[0], np.cumsum(-(-sizes // LANES))])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    lanes = first[coarse_of] * LANES + np.arange(len(keys)) - starts[coarse_of]
    blocks = empty_blocks(int(first[-1]), codes.words.shape[1], unused=-np.inf)
    offset = codes.inner - codes.scale.astype(np.float64) * codes.turned
    put_codes(blocks, lanes, codes, (offset + facts[FACT.key_bias]).astype(np.float32))
    slots = np.full(LANES * len(blocks), -1, dtype=np.int32)
    slots[lanes] = np.arange(len(keys))
    return coarse, first.astype(np.int32), blocks, slots
