"""What may embed: a LangChain `Embeddings`, an m2m_rag embedder or a bare callable; its identity.

Identity (the *fingerprint* that is bound to a collection, so that nobody mixes two models) is the
one that `m2m_rag.text.as_embedder` gives, so that a folder ingested with an embedding object can be
searched with it here:

* an object with a string attribute ``fingerprint`` (every m2m_rag embedder) is known by it;
* an object that tells its model (``model``, ``model_name``, ...) by its class and that name;
* a bound method such as ``embeddings.embed_query`` as the object it belongs to;
* everything else (functions, lambdas, fakes without a model name) has no stable name and is not
  bound: the dimension is then the only check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import as_embedder

_NAME_ATTRIBUTES = ("fingerprint", "model_name", "model", "model_id", "deployment_name")


@runtime_checkable
class TextEmbedder(Protocol):
    """The two methods that make an object an embedder."""

    def embed_documents(self, texts: Any, /) -> Any:
        """Return one vector for each text."""
        ...

    def embed_query(self, text: Any, /) -> Any:
        """Return the vector of a question."""
        ...


Vector: TypeAlias = Sequence[float] | NDArray[Any]
EmbeddingLike: TypeAlias = Embeddings | TextEmbedder | Callable[[str], Vector]


class CallableEmbeddings(Embeddings):
    """One function for questions and documents alike."""

    def __init__(self, function: Callable[[str], Vector]) -> None:
        self.function = function

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Call the function once for each text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Call the function."""
        return _as_floats(self.function(text))


class EmbedderEmbeddings(Embeddings):
    """An m2m_rag embedder (arrays out) behind LangChain's interface (lists out)."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed all texts in one call."""
        return [_as_floats(vector) for vector in self.embedder.embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        """Embed one question."""
        return _as_floats(self.embedder.embed_query(text))


def pick_embedding(**named: EmbeddingLike | None) -> Embeddings | None:
    """Return the one embedding that was given under any of the accepted names.

    Raises
    ------
    InvalidInputError
        When two names were used, or the object cannot embed.
    """
    given = {name: value for name, value in named.items() if value is not None}
    if len(given) > 1:
        raise InvalidInputError(
            f"{' and '.join(given)} were both given; they are names of one argument. Pass one."
        )
    return as_embeddings(next(iter(given.values()))) if given else None


def as_embeddings(embedding: EmbeddingLike) -> Embeddings:
    """Put any accepted object behind LangChain's `Embeddings` interface."""
    if isinstance(embedding, Embeddings):
        return embedding
    if isinstance(embedding, TextEmbedder) and not isinstance(embedding, type):
        return EmbedderEmbeddings(embedding)
    if inspect.iscoroutinefunction(embedding):
        raise InvalidInputError(
            f"the embedding {embedding!r} is a coroutine function; pass the synchronous one, or "
            "the whole Embeddings object, whose aembed_* methods the async methods await."
        )
    if callable(embedding) and not isinstance(embedding, type):
        return CallableEmbeddings(embedding)
    raise InvalidInputError(
        f"the embedding is {embedding!r}; expected a langchain_core Embeddings object, an m2m_rag "
        "embedder, or a function from a string to a vector, such as embeddings.embed_query."
    )


def fingerprint_of(embeddings: Embeddings) -> str | None:
    """Return the stable name of the model, or None when there is none (see the module)."""
    source: Any = embeddings
    if isinstance(embeddings, CallableEmbeddings):
        source = getattr(embeddings.function, "__self__", None)
    elif isinstance(embeddings, EmbedderEmbeddings):
        source = embeddings.embedder
    told = [getattr(source, attribute, None) for attribute in _NAME_ATTRIBUTES]
    if any(isinstance(name, str) and name for name in told):
        return as_embedder(source).fingerprint
    return None


def check_vectors(vectors: Sequence[Vector], n_texts: int) -> None:
    """Refuse an embedder that did not return one vector for each text."""
    if len(vectors) != n_texts:
        raise InvalidInputError(
            f"the embedding returned {len(vectors)} vectors for {n_texts} texts; one for each is "
            "expected. Nothing was written."
        )


def _as_floats(vector: Any) -> list[float]:
    values: list[float] = np.asarray(vector, dtype=np.float64).tolist()
    return values
