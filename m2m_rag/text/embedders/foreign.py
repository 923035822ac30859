"""Embedding objects of other libraries, as they are: LangChain, LlamaIndex, or a plain function.

What an object is follows from its methods; no framework is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag.errors import InvalidInputError

_NAME_FIELDS = ("model_name", "model", "model_id", "deployment_name")


class ForeignEmbedder:
    """An embedder made of somebody else's embedding object.

    Parameters
    ----------
    model
        An object with ``embed_documents`` and ``embed_query`` (LangChain ``Embeddings``), one with
        ``get_text_embedding_batch`` and ``get_query_embedding`` (LlamaIndex ``BaseEmbedding``),
        or a callable that returns the vector of a text.
    fingerprint
        Name of the vector space. By default the class (or function) and, where the object tells
        it, the model's name; give one when that doesn't tell two models apart.
    dimension
        Length of the vectors; found by embedding one word when it is not given.

    Raises
    ------
    InvalidInputError
        The object is none of these; or, while embedding, what it returns is not a vector of
        numbers for each text.
    """

    def __init__(
        self, model: Any, *, fingerprint: str | None = None, dimension: int | None = None
    ) -> None:
        self.model = model
        self.fingerprint = fingerprint or _name(model)
        self._dimension = dimension
        self._documents, self._query = _methods(model)

    @property
    def dimension(self) -> int:
        """Length of the vectors; the first use may embed one word."""
        if self._dimension is None:
            self._dimension = len(self.embed_query("dimension"))
        return self._dimension

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the ``(n, d)`` vectors of `texts`."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return self._checked(self._documents(list(texts)), len(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the ``(d,)`` vector of `text`."""
        vector: NDArray[np.float32] = self._checked([self._query(text)], 1)[0]
        return vector

    def _checked(self, vectors: Any, n: int) -> NDArray[np.float32]:
        try:
            array = np.asarray(vectors, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidInputError(
                f"the embedder {self.fingerprint!r} returned what is no array of numbers "
                f"({error}). Expected one vector of equal length for each of {n} texts."
            ) from error
        expected = (n, array.shape[-1] if self._dimension is None else self._dimension)
        if array.ndim != 2 or array.shape != expected or array.shape[1] == 0:
            raise InvalidInputError(
                f"the embedder {self.fingerprint!r} returned an array of shape {array.shape}. "
                f"Expected {n} vectors of length {self._dimension or 'd'}."
            )
        self._dimension = array.shape[1]
        return array


def is_foreign(model: object) -> bool:
    """Whether `model` is an object that `ForeignEmbedder` takes."""
    return _kind(model) is not None


def _kind(model: object) -> str | None:
    if isinstance(model, type):
        return None
    if callable(getattr(model, "embed_documents", None)):
        return "langchain" if callable(getattr(model, "embed_query", None)) else None
    if callable(getattr(model, "get_text_embedding_batch", None)):
        return "llama_index" if callable(getattr(model, "get_query_embedding", None)) else None
    return "callable" if callable(model) else None


def _methods(model: Any) -> tuple[Callable[[list[str]], Any], Callable[[str], Any]]:
    kind = _kind(model)
    if kind == "langchain":
        return model.embed_documents, model.embed_query
    if kind == "llama_index":
        return model.get_text_embedding_batch, model.get_query_embedding
    if kind == "callable":
        return lambda texts: [model(text) for text in texts], model
    raise InvalidInputError(
        f"{type(model).__name__} is no embedder. Expected an object with embed_documents and "
        "embed_query (LangChain), with get_text_embedding_batch and get_query_embedding "
        "(LlamaIndex), or a function from a text to its vector."
    )


def _name(model: Any) -> str:
    owner = model if hasattr(model, "__qualname__") else type(model)
    name = f"{owner.__module__}.{owner.__qualname__}"
    # LlamaIndex gives every object without a model name the name "unknown".
    fields = (getattr(model, field, None) for field in _NAME_FIELDS)
    told = next((field for field in fields if isinstance(field, str) and field != "unknown"), None)
    return f"{name}({told})" if told else name
