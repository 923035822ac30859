"""The database for asyncio: `AsyncDatabase` and `AsyncCollection`, with the names of their twins.

Every call runs in a thread of the loop's default executor, so the loop goes on meanwhile; what
`Database` and `Collection` say about a method holds here, too. Properties that read the disk are
awaited like methods.

Cancelling an await doesn't reach into its thread: a write that has begun is committed whole, one
that has not begun is not done at all, and the collection may be used at once. Closing waits for
what is under way.

::

    async with AsyncDatabase("notes_db") as db:
        notes = await db.create("notes", exist_ok=True)
        await notes.add([[1.0, 0.0]], ids=["x"])
        hits = await notes.search([0.9, 0.1], k=1)
        async for record in notes:
            print(record.id)
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, Self, overload

from m2m_rag._handle import WhereLike
from m2m_rag._searching import Vector1, Vector2
from m2m_rag._sharing import SharedDatabase
from m2m_rag._twins import Twin, awaited_twin, in_steps
from m2m_rag._types import Durability, Hit, Metric, Record, Stage
from m2m_rag.collection import Collection
from m2m_rag.compute.clustered import LOD
from m2m_rag.database import Database
from m2m_rag.errors import ClosedError
from m2m_rag.index.fusion import Fusion

RECORDS_A_STEP = 256
"""Records that an iteration fetches at a time: a way to a thread and back takes 0.1 ms."""


class AsyncCollection(Twin[Collection]):
    """The asynchronous twin of `Collection`; made by `AsyncDatabase.create` and `open`."""

    def __init__(self, database: AsyncDatabase, sync: Collection) -> None:
        self._database = database
        self._sync = sync

    @property
    def sync(self) -> Collection:
        """The synchronous twin, for code that runs in a thread of its own."""
        return self._sync

    @property
    def database(self) -> AsyncDatabase:
        """The database that holds the collection."""
        return self._database

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._sync.name

    @property
    def metric(self) -> Metric:
        """``"cosine"``, ``"dot"`` or ``"l2"``."""
        return self._sync.metric

    @property
    def dimension(self) -> Coroutine[Any, Any, int | None]:
        """Length of the vectors, to be awaited."""
        return asyncio.to_thread(lambda: self._sync.dimension)

    @property
    def embedder(self) -> Coroutine[Any, Any, str | None]:
        """Fingerprint of the embedder, to be awaited."""
        return asyncio.to_thread(lambda: self._sync.embedder)

    add = awaited_twin(Collection.add)
    upsert = awaited_twin(Collection.upsert)
    update = awaited_twin(Collection.update)
    delete = awaited_twin(Collection.delete)
    clear = awaited_twin(Collection.clear)
    bind_embedder = awaited_twin(Collection.bind_embedder)
    get = awaited_twin(Collection.get)
    ids = awaited_twin(Collection.ids)
    count = awaited_twin(Collection.count)
    distinct = awaited_twin(Collection.distinct)
    facets = awaited_twin(Collection.facets)
    vectors_of_texts = awaited_twin(Collection.vectors_of_texts)
    stats = awaited_twin(Collection.stats)
    wait_for_index = awaited_twin(Collection.wait_for_index)
    search_mmr = awaited_twin(Collection.search_mmr)
    search_groups = awaited_twin(Collection.search_groups)
    explain = awaited_twin(Collection.explain)
    verify = awaited_twin(Collection.verify)
    repair = awaited_twin(Collection.repair)
    compact = awaited_twin(Collection.compact)
    flush = awaited_twin(Collection.flush)

    @overload
    async def search(
        self,
        vector: Vector1 | None = ...,
        k: int = ...,
        *,
        text: str | None = ...,
        where: WhereLike = ...,
        include_vectors: bool = ...,
        recall: float | None = ...,
        lod: LOD = ...,
        n_probe: int | None = ...,
        fusion: Fusion = ...,
    ) -> list[Hit]: ...

    @overload
    async def search(
        self,
        vector: Vector2,
        k: int = ...,
        *,
        where: WhereLike = ...,
        include_vectors: bool = ...,
        recall: float | None = ...,
        lod: LOD = ...,
        n_probe: int | None = ...,
    ) -> list[list[Hit]]: ...

    @functools.wraps(Collection.search)
    async def search(self, *args: Any, **kwargs: Any) -> list[Hit] | list[list[Hit]]:
        """Find the k records with the best score; see `Collection.search`."""
        return await asyncio.to_thread(self._sync.search, *args, **kwargs)

    def search_progressive(
        self,
        vector: Any,
        k: int = 10,
        *,
        where: WhereLike = None,
        recall: float | None = None,
    ) -> AsyncIterator[Stage]:
        """Yield the answers at LOD 0, 1 and 2, each as soon as it is known."""
        return in_steps(self._sync.search_progressive(vector, k, where=where, recall=recall), 1)

    def __aiter__(self) -> AsyncIterator[Record]:
        """Iterate over the records of one commit, oldest first, without their vectors."""
        return in_steps(iter(self._sync), RECORDS_A_STEP)

    async def close(self) -> None:
        """Close this handle; the database stays open. Closing twice is fine."""
        self._sync.close()

    def __repr__(self) -> str:
        """Show name and place."""
        return f"<Async{repr(self._sync)[1:]}"


class AsyncDatabase(Twin[Database]):
    """The asynchronous twin of `Database`: ``async with AsyncDatabase(path) as db``.

    Making one touches nothing; entering the block opens it, and so does ``await AsyncDatabase(…)``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        lock_timeout_s: float = 0.0,
        durability: Durability = "full",
    ) -> None:
        make = functools.partial(
            Database,
            path,
            read_only=read_only,
            lock_timeout_s=lock_timeout_s,
            durability=durability,
        )
        self._prepare(
            make,
            f"<AsyncDatabase {os.fspath(path)!r}>",
        )

    @classmethod
    def in_memory(cls) -> Self:
        """Return a database that lives in memory and ends with `close`."""
        made = cls.__new__(cls)
        made._prepare(Database.in_memory, "<AsyncDatabase in memory>")
        return made

    @classmethod
    async def restore(
        cls, backup: str | os.PathLike[str], path: str | os.PathLike[str]
    ) -> AsyncDatabase:
        """Copy a backup to a new folder, verify it there, and return it opened."""
        made = cls(path)
        made._shared = SharedDatabase(functools.partial(Database.restore, backup, path))
        return await made

    @property
    def sync(self) -> Database:
        """The synchronous twin, for code that runs in a thread of its own.

        Raises
        ------
        ClosedError
            The database was not opened yet.
        """
        if self._shared.database is None:
            raise ClosedError(
                f"{self!r} is not open. Use 'async with AsyncDatabase(path) as db' or "
                "'db = await AsyncDatabase(path)'."
            )
        return self._shared.database

    @property
    def path(self) -> Path | None:
        """The folder, or None in memory."""
        return self.sync.path

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._shared.database is not None and self._shared.database.closed

    async def create(
        self,
        name: str,
        dimension: int | None = None,
        metric: Metric = "cosine",
        *,
        tokenizer: str | None = "unicode61",
        exist_ok: bool = False,
    ) -> AsyncCollection:
        """Create a collection."""
        made = await asyncio.to_thread(
            self.sync.create, name, dimension, metric, tokenizer=tokenizer, exist_ok=exist_ok
        )
        return AsyncCollection(self, made)

    async def open(self, name: str) -> AsyncCollection:
        """Open a collection."""
        return AsyncCollection(self, await asyncio.to_thread(self.sync.open, name))

    list = awaited_twin(Database.list)
    drop = awaited_twin(Database.drop)
    verify = awaited_twin(Database.verify)
    repair = awaited_twin(Database.repair)
    backup = awaited_twin(Database.backup)
    compact = awaited_twin(Database.compact)
    flush = awaited_twin(Database.flush)

    async def close(self) -> None:
        """Close everything, after the calls that are under way. Closing twice is fine."""
        await self._shared.close()

    def __await__(self) -> Generator[Any, None, Self]:
        """Open the database and return it."""
        return self._opened().__await__()

    async def __aenter__(self) -> Self:
        """Open the database and return it; leaving the block closes it."""
        return await self._opened()

    def __repr__(self) -> str:
        """Show the place."""
        return self._place

    def _prepare(self, make: Callable[[], Database], place: str) -> None:
        self._shared = SharedDatabase(make)
        self._place = place

    async def _opened(self) -> Self:
        await self._shared.open()
        return self
