"""The vector store: how it is made, filled at birth, turned into a retriever, copied and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document

from langchain_m2m._arguments import reject_unknown
from langchain_m2m._diverse import DiverseMethods
from langchain_m2m._embedding import EmbeddingLike, Vector, fingerprint_of, pick_embedding
from langchain_m2m._handle import CollectionHandle, Metric
from langchain_m2m._reading import ReadingMethods
from langchain_m2m._searching import SearchingMethods
from langchain_m2m._updating import UpdatingMethods
from langchain_m2m._words import WordMethods
from langchain_m2m._writing import WritingMethods
from langchain_m2m.retriever import M2MRetriever
from m2m_rag.compute import get_backend
from m2m_rag.errors import InvalidInputError, unknown_argument


class M2MVectorStore(
    ReadingMethods,
    SearchingMethods,
    DiverseMethods,
    WordMethods,
    UpdatingMethods,
    WritingMethods,
):
    """A LangChain vector store in one folder, or in memory.

    Parameters
    ----------
    embedding
        A LangChain ``Embeddings`` object, an m2m_rag embedder, or a function from a string to a
        vector, which then embeds questions and texts alike. None is fine for a store that is
        only used by vector.
    collection_name
        Which collection of the database; several stores may share one folder.
    path
        Folder of the database, created when missing. None keeps everything in memory, apart
        from every other store.
    metric
        ``"cosine"``, ``"dot"`` or ``"l2"``: fixed when the collection is created; a collection
        of another metric is refused.
    embeddings, embedding_function
        Other names of `embedding`; two at once are an error.
    splat_capacity
        Most records that the collection may hold; a write that would pass it raises
        ``LimitError`` and writes nothing. None: no limit.
    enable_vulkan
        Compute on a GPU through Vulkan; raises when this version has no such backend.
    relevance_score_fn
        Turns a similarity into a relevance in [0, 1], in place of `m2m_rag.scores.relevance`.
    read_only
        Open an existing folder without ever writing to it.

    Raises
    ------
    InvalidInputError
        When an argument cannot be used.
    UnknownArgumentError
        For a keyword argument that does not exist, naming the nearest one.
    EmbedderMismatchError
        When the collection was filled by another model.

    Notes
    -----
    Scores are similarities (higher is better). The dimension is that of the first vector written.
    A store on a folder can be pickled and deep-copied (the copy opens the folder again and shares
    the embedding); one in memory cannot.

    Examples
    --------
    >>> store = M2MVectorStore(embedding_function=lambda text: [len(text), text.count("e")])
    >>> store.add_texts(["a cat", "eleven eels"], ids=["cat", "eels"])
    ['cat', 'eels']
    >>> store.similarity_search("seven eels", k=1)[0].id
    'eels'
    >>> store.close()
    """

    def __init__(
        self,
        embedding: EmbeddingLike | None = None,
        *,
        collection_name: str = "langchain",
        path: str | Path | None = None,
        metric: Metric = "cosine",
        embeddings: EmbeddingLike | None = None,
        embedding_function: EmbeddingLike | None = None,
        splat_capacity: int | None = None,
        enable_vulkan: bool = False,
        relevance_score_fn: Callable[[float], float] | None = None,
        read_only: bool = False,
        **unknown: Any,
    ) -> None:
        reject_unknown(type(self), unknown)
        if enable_vulkan:
            get_backend("vulkan")
            raise InvalidInputError(
                "enable_vulkan=True: collections compute on the CPU in this version. "
                "Leave enable_vulkan out."
            )
        self._embedding = pick_embedding(
            embedding=embedding, embeddings=embeddings, embedding_function=embedding_function
        )
        self._fingerprint = None if self._embedding is None else fingerprint_of(self._embedding)
        self._relevance_score_fn = relevance_score_fn
        folder = None if path is None else Path(path).resolve()
        self._options: dict[str, Any] = {
            "embedding": self._embedding,
            "collection_name": collection_name,
            "path": folder,
            "metric": metric,
            "splat_capacity": splat_capacity,
            "relevance_score_fn": relevance_score_fn,
            "read_only": read_only,
        }
        self._handle = CollectionHandle(collection_name, folder, metric, splat_capacity, read_only)
        try:
            self._prepare_asking()
        except BaseException:
            self.close()
            raise

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        embedding: EmbeddingLike | None = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """Make a store (`options` are its other arguments) and add texts to it."""
        store = cls(embedding, **options)
        with _closing_on_error(store):
            store.add_texts(texts, metadatas, ids=ids, batch_size=batch_size)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: Iterable[str],
        embedding: EmbeddingLike | None = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """Do what `from_texts` does, awaiting the embedding's own ``aembed_documents``."""
        store = await asyncio.to_thread(cls, embedding, **options)
        with _closing_on_error(store):
            await store.aadd_texts(texts, metadatas, ids=ids, batch_size=batch_size)
        return store

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        embedding: EmbeddingLike | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """Make a store (`options` are its other arguments) and add documents to it."""
        store = cls(embedding, **options)
        with _closing_on_error(store):
            store.add_documents(documents, ids=ids, batch_size=batch_size)
        return store

    @classmethod
    async def afrom_documents(
        cls,
        documents: Iterable[Document],
        embedding: EmbeddingLike | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Self:
        """Do what `from_documents` does, awaiting the embedding's own ``aembed_documents``."""
        store = await asyncio.to_thread(cls, embedding, **options)
        with _closing_on_error(store):
            await store.aadd_documents(documents, ids=ids, batch_size=batch_size)
        return store

    @classmethod
    def from_embeddings(
        cls,
        text_embeddings: Iterable[tuple[str, Vector]],
        embedding: EmbeddingLike | None = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **options: Any,
    ) -> Self:
        """Make a store and add pairs of a text and its vector; `embedding` serves questions."""
        store = cls(embedding, **options)
        with _closing_on_error(store):
            store.add_embeddings(text_embeddings, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_embeddings(
        cls,
        text_embeddings: Iterable[tuple[str, Vector]],
        embedding: EmbeddingLike | None = None,
        metadatas: Iterable[dict[str, Any] | None] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **options: Any,
    ) -> Self:
        """Do what `from_embeddings` does, in a thread."""
        return await asyncio.to_thread(
            cls.from_embeddings, text_embeddings, embedding, metadatas, ids=ids, **options
        )

    def as_retriever(self, **kwargs: Any) -> M2MRetriever:
        """Return a retriever over this store.

        Parameters
        ----------
        **kwargs
            Fields of `M2MRetriever`: `search_type` (``"similarity"``, ``"mmr"``,
            ``"similarity_score_threshold"``, ``"hybrid"`` or ``"text"``), `search_kwargs` (``k``,
            ``filter``, ``fetch_k``, ``lambda_mult``, ``score_threshold``, ``fusion``),
            `score_key`, and LangChain's own `tags`, `metadata` and `name`.
        """
        known = M2MRetriever.model_fields.keys() - {"vectorstore"}
        for name in kwargs.keys() - known:
            raise unknown_argument("as_retriever()", name, known)
        tags = kwargs.pop("tags", None) or self._get_retriever_tags()
        return M2MRetriever(vectorstore=self, tags=tags, **kwargs)

    def close(self) -> None:
        """Free files and memory, after which every operation raises; again is fine."""
        self._handle.close()

    def __enter__(self) -> Self:
        """Return the store; leaving the block closes it."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the store."""
        self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Open the same folder again, with the same embedding object."""
        reopen, arguments = self.__reduce__()
        return reopen(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[type[Self], dict[str, Any]]]:
        """Pickle as the arguments that open the same folder again."""
        if self._options["path"] is None:
            raise InvalidInputError(
                "this store is in memory, so a copy would be empty: it cannot be pickled or "
                "copied. Make it with path=... to copy a handle to the same data."
            )
        return _reopen, (type(self), self._options)


def _reopen(cls: type[Any], options: dict[str, Any]) -> Any:
    return cls(**options)


@contextmanager
def _closing_on_error(store: M2MVectorStore) -> Iterator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise
