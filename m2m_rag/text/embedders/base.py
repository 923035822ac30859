"""The contract of embedders: texts in, float32 vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Embedder(Protocol):
    """Turns texts into vectors of one length.

    Equal texts give equal vectors (up to rounding), in whatever batch they come, so that a vector
    which a collection holds already can be used again.
    """

    @property
    def fingerprint(self) -> str:
        """Name of the vector space, known without loading a model.

        Two embedders with the same fingerprint give the same vectors; a collection refuses an
        embedder with another fingerprint than the one that filled it.
        """
        ...

    @property
    def dimension(self) -> int:
        """Length of the vectors. May load the model."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the ``(n, d)`` vectors of texts that are to be stored, in their order."""
        ...

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the ``(d,)`` vector of a question."""
        ...
