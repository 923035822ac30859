"""One commit that several writers share: a transaction of SQLite in which they write in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import apsw

from m2m_rag.storage.transaction import Transaction
from m2m_rag.storage.vectors.base import Vectors

if TYPE_CHECKING:
    from m2m_rag.storage.grouping import Member

LONGEST_S = 0.05
"""A group takes nobody in that comes later after its beginning."""


class Group:
    """One commit to be: an open transaction of SQLite, and those who have written in it."""

    def __init__(self, lend: Callable[[], AbstractContextManager[apsw.Connection]]) -> None:
        self.members: list[Member] = []
        self._touched: set[Vectors] = set()
        self._is_saved = False
        with ExitStack() as stack:
            self._connection = stack.enter_context(lend())
            self._run("BEGIN IMMEDIATE")
            self._lent = stack.pop_all()
        self._began_s = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it takes nobody in any more."""
        return time.monotonic() - self._began_s > LONGEST_S

    @property
    def is_open(self) -> bool:
        """Whether SQLite's transaction is: some errors end it."""
        return self._connection.in_transaction

    @contextmanager
    def body(self) -> Iterator[Transaction]:
        """Let one writer write; after an exception `undo_body` or `undo` is to be called."""
        if self.members:
            self._run("SAVEPOINT body")
            self._is_saved = True
        transaction = Transaction(self._connection, self._touched)
        transaction.delete_expired()
        yield transaction
        transaction.write_state()
        if self._is_saved:
            self._run("RELEASE body")
            self._is_saved = False
        self._last = transaction

    def undo_body(self) -> None:
        """Undo what the last body wrote, and nothing of the members'.

        The rows that it appended to vector files stay behind those that count, where the next body
        writes.
        """
        if self._is_saved:
            self._run("ROLLBACK TO body")
            self._run("RELEASE body")
            self._is_saved = False

    def commit(self) -> Transaction:
        """Put the vectors on disk, then the commit; return the last write in it."""
        for vectors in self._touched:
            vectors.sync()
        self._run("COMMIT")
        return self._last

    def has_committed(self) -> bool:
        """Tell after an interrupt of `commit` whether it came too late."""
        if self._connection.in_transaction:
            return False
        with suppress(apsw.Error):
            found = self._connection.execute("SELECT commit_no FROM state").get
            return bool(found >= self._last.commit_no)
        return False

    def undo(self) -> None:
        """Undo everything that is not committed."""
        for vectors in self._touched:
            vectors.undo()
        if self._connection.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        """Give the connection back."""
        self._lent.close()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement).fetchall()
