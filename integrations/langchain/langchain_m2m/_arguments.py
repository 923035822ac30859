"""Checks of what callers pass: unknown names; texts, metadatas and ids that belong together."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from langchain_core.documents import Document

from m2m_rag.errors import InvalidInputError, unknown_argument
from m2m_rag.inputs import as_count, as_list


class Batch(NamedTuple):
    """Records without their vectors; the three lists are equally long."""

    ids: list[str]
    texts: list[str]
    metadatas: list[dict[str, Any]]


def reject_unknown(function: Callable[..., Any], unknown: Mapping[str, object]) -> None:
    """Raise for the first keyword argument that `function` does not name.

    Raises
    ------
    UnknownArgumentError
        Naming the argument, the nearest known one and all known ones.
    """
    if unknown:
        named = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        ]
        raise unknown_argument(f"{function.__name__}()", next(iter(unknown)), named)


def batch_of_texts(
    texts: Iterable[str],
    metadatas: Iterable[dict[str, Any] | None] | None,
    ids: Iterable[str | None] | None,
) -> Batch:
    """Read each iterable once, check that they fit and give an id to what has none.

    Raises
    ------
    InvalidInputError
        When the lengths differ or a text is not a string.
    """
    if isinstance(texts, str):
        raise InvalidInputError(
            "texts is one string; a list of strings is expected. Write [text] for one text."
        )
    text_list = as_list(texts, "texts")
    for position, text in enumerate(text_list):
        if not isinstance(text, str):
            raise InvalidInputError(
                f"texts[{position}] is a {type(text).__name__}; a string is expected. "
                "Documents go to add_documents."
            )
    n_texts = len(text_list)
    metadata_list = [None] * n_texts if metadatas is None else as_list(metadatas, "metadatas")
    id_list = [None] * n_texts if ids is None else ids_as_list(ids)
    for name, given in (("metadatas", metadata_list), ("ids", id_list)):
        if len(given) != n_texts:
            raise InvalidInputError(
                f"{len(given)} {name} for {n_texts} texts; pass one for each text, or none at all. "
                "Nothing was written."
            )
    return Batch(
        ids=[uuid.uuid4().hex if given is None else given for given in id_list],
        texts=text_list,
        metadatas=[{} if metadata is None else metadata for metadata in metadata_list],
    )


def batch_of_documents(documents: Iterable[Document], ids: Iterable[str | None] | None) -> Batch:
    """Read the documents once; `ids`, when given, wins over each document's own id."""
    document_list = as_list(documents, "documents")
    for position, document in enumerate(document_list):
        if not isinstance(document, Document):
            raise InvalidInputError(
                f"documents[{position}] is a {type(document).__name__}; a langchain_core Document "
                "is expected. Strings go to add_texts."
            )
    return batch_of_texts(
        [document.page_content for document in document_list],
        [document.metadata for document in document_list],
        [document.id for document in document_list] if ids is None else ids,
    )


def ids_as_list(ids: Iterable[Any]) -> list[Any]:
    """Return the ids as a list; one bare string is a mistake, not a list of its letters."""
    if isinstance(ids, str):
        raise InvalidInputError(f"ids is the string {ids!r}; pass a list of ids, as in [{ids!r}].")
    return as_list(ids, "ids")


def parts_of(batch: Batch, batch_size: int | None) -> Iterator[Batch]:
    """Cut a batch into batches of at most `batch_size` records; None means no cut."""
    size = max(1, len(batch.ids))
    if batch_size is not None:
        size = as_count(batch_size, "batch_size", least=1)
    for start in range(0, len(batch.ids), size):
        part = slice(start, start + size)
        yield Batch(batch.ids[part], batch.texts[part], batch.metadatas[part])
