"""A lexical embedder without a model: signed feature hashing of words and letter trigrams.

It is plumbing, not a semantic model: it finds texts that share words and spellings and knows
nothing of meaning ("car" and "automobile" are unrelated to it). Use it to try, test and measure
the machinery without a download; use a real model for answers.

Method: Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009): each
feature adds its weight to one of `dimension` coordinates, with a sign, both taken from its hash.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from m2m_rag.errors import InvalidInputError

_WORD = re.compile(r"\w+")
# A trigram weighs less than a word, for a word has several.
_TRIGRAM_WEIGHT = 0.3


class HashingEmbedder:
    """Deterministic lexical vectors of unit length (zeros for a text without words).

    Not a semantic model: see the module's text. The fingerprint says so too.

    Parameters
    ----------
    dimension
        Length of the vectors, at least 8. More means fewer accidental collisions.
    """

    def __init__(self, dimension: int = 512) -> None:
        if dimension < 8:
            raise InvalidInputError(f"dimension is {dimension}. Expected at least 8.")
        self.dimension = dimension
        self.fingerprint = f"hashing-lexical-not-semantic-v1-d{dimension}"

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the ``(n, d)`` vectors of `texts`."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = self.embed_query(text)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the ``(d,)`` vector of `text`; questions and documents are treated alike."""
        sums = np.zeros(self.dimension, dtype=np.float64)
        for feature, count in Counter(_features(text)).items():
            code = xxhash.xxh3_64_intdigest(feature.encode("utf-8", "replace"))
            weight = (1.0 if feature[0] == "w" else _TRIGRAM_WEIGHT) * (1.0 + np.log(count))
            # The lowest bit is the sign; the coordinate comes from the bits above it.
            sums[(code >> 1) % self.dimension] += weight if code & 1 else -weight
        norm = float(np.linalg.norm(sums))
        return (sums / norm if norm else sums).astype(np.float32)


def _features(text: str) -> Iterator[str]:
    for match in _WORD.finditer(text.casefold()):
        word = match[0]
        yield f"w{word}"
        padded = f"<{word}>"
        for at in range(len(padded) - 2):
            yield f"g{padded[at : at + 3]}"
