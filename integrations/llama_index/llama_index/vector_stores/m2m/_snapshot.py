"""`persist` and its way back: a full copy of the store in a folder beside LlamaIndex's files.

LlamaIndex names a file, such as ``storage/default__vector_store.json``, and would parse that very
file as its own store; so the copy is the folder ``storage/default__vector_store.m2m``, an
m2m_rag database that holds one collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped]

from m2m_rag import Collection, Database
from m2m_rag.errors import InvalidInputError, StorageError
from m2m_rag.filters import And


def write_snapshot(collection: Collection, persist_path: str, fs: Any) -> None:
    """Make the folder of `persist_path` hold exactly the records of `collection`.

    The records change in one commit, so an interrupted call leaves the older copy. All records
    pass through memory. Copying a collection onto its own folder does nothing: it is there.
    """
    folder = _folder(persist_path, fs)
    source = collection.database.path
    if source is not None and source.resolve() == folder.resolve():
        return
    records = collection.get(include_vectors=True)
    with Database(folder) as database:
        for name in database.list():
            held = database.open(name)
            if (
                (name, held.metric) != (collection.name, collection.metric)
                or held.dimension not in (None, collection.dimension)
                or held.embedder not in (None, collection.embedder)
            ):
                database.drop(name)
        copy = database.create(collection.name, metric=collection.metric, exist_ok=True)
        if collection.embedder is not None:
            copy.bind_embedder(collection.embedder)
        vectors: Any = [record.vector for record in records]
        copy.upsert(
            np.stack(vectors) if vectors else np.empty((0, collection.dimension or 1)),
            ids=[record.id for record in records],
            texts=[record.text for record in records],
            metadatas=[record.metadata for record in records],
            alphas=[record.alpha for record in records],
            kappas=[record.kappa for record in records],
            replace_where=And(()),
        )


def find_snapshot(persist_path: str, fs: Any) -> tuple[Path, str]:
    """Return the folder of a copy and the name of its collection.

    Raises
    ------
    StorageError
        There is no copy, or it is a database of several collections.
    """
    folder = _folder(persist_path, fs)
    if not folder.is_dir():
        raise StorageError(
            f"no copy of a store at {folder}; expected the folder that persist({persist_path!r}) "
            "writes. A store that was made with path= is reopened with M2MVectorStore(path=...)"
        )
    with Database(folder) as database:
        names = database.list()
    if len(names) != 1:
        raise StorageError(
            f"{folder} holds the collections {names}; expected one. Open the right one with "
            "M2MVectorStore(path=..., collection_name=...)"
        )
    return folder, names[0]


def _folder(persist_path: str, fs: Any) -> Path:
    if fs is not None and not isinstance(fs, LocalFileSystem):
        raise InvalidInputError(
            f"fs is a {type(fs).__name__}; expected None or the local file system, because a "
            "database is a folder of files that it locks and maps. Copy the folder yourself"
        )
    return Path(persist_path).with_suffix(".m2m")
