"""One commit that several writers share: they write in turn in one transaction of SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import FrameType
from typing import cast

import apsw

from m2m_rag._presence import Token
from m2m_rag.storage.transaction import Transaction
from m2m_rag.storage.vectors.base import Vectors

LONGEST_S = 0.05
"""A group takes nobody in that comes later after its beginning.

It bounds how long the first of a group waits, and another handle of the database. More members need
no bound of their own: each is a thread that waits. Syncs an add, 16 threads, each sync taking 3 ms:

==============  ======  =====  =====  =====  =====  =====  ======
limit           2.5 ms  5 ms   10 ms  20 ms  40 ms  50 ms  100 ms
1 row × 8         0.45   0.30   0.26   0.18   0.19   0.19    0.18
100 rows × 384    1.18   1.11   0.75   0.57   0.34   0.24    0.22
==============  ======  =====  =====  =====  =====  =====  ======
"""
LOOKS_S = 1.0
"""How often one that waits looks whether an interrupt has cut off the one it waits for."""


class Member:
    """A writer: its place in the queue, and later in a group."""

    def __init__(self, user: FrameType | None, *, is_alone: bool) -> None:
        self.is_alone = is_alone
        self.thread = threading.get_ident()
        self.user = user
        """Whose write it is, while it lasts."""
        self.admission: Token | None = None
        """Of the gate of forks, when the writer before it has let it in."""
        self.has_left = False
        """Whether its call is over; one that still has the turn then has lost it."""
        self._is_over = False
        self._error: BaseException | None = None
        self.called = threading.Lock()
        """Is released to wake it: when its turn has come, and by `end`."""
        self.called.acquire()

    def end(self, error: BaseException | None) -> None:
        """Wake it: its group has ended, with an error or well."""
        if not self._is_over:
            self._error, self._is_over = error, True
        if self.called.locked():
            self.called.release()

    def wait_for_turn(self, take_lost: Callable[[Member], bool]) -> None:
        """Wait until its turn has come, or until it has taken a lost one."""
        while not self.called.acquire(timeout=LOOKS_S):
            if take_lost(self):
                return

    def wait_for_end(self, take_lost: Callable[[Member], bool]) -> bool:
        """Wait for `end`; raise its error, or an interrupt that came meanwhile.

        Return whether it has taken a lost turn: it is to pass it on.
        """
        interrupt: BaseException | None = None
        has_turn = False
        while not self._is_over:
            try:
                is_called = self.called.acquire(timeout=LOOKS_S)
            except BaseException as error:
                interrupt = error
                continue
            has_turn = not is_called and take_lost(self)
        failure = interrupt or self._error
        if failure is not None:
            raise failure
        return has_turn


class Group:
    """One commit to be: an open transaction of SQLite, and those who have written in it."""

    def __init__(self, lend: Callable[[], AbstractContextManager[apsw.Connection]]) -> None:
        self.members: list[Member] = []
        self.is_stored: bool | None = None
        """What became of it, once that is known."""
        self._touched: set[Vectors] = set()
        self._is_saved = False
        self._lend = lend
        self._lent = ExitStack()
        self._connection: apsw.Connection | None = None
        self._began_s = time.monotonic()

    def begin(self) -> None:
        """Begin the transaction; `close` is to be called whatever comes of it."""
        self._connection = self._lent.enter_context(self._lend())
        self._run("BEGIN IMMEDIATE")
        self._began_s = time.monotonic()

    @property
    def is_full(self) -> bool:
        """Whether it takes nobody in any more."""
        return time.monotonic() - self._began_s > LONGEST_S

    @property
    def is_open(self) -> bool:
        """Whether SQLite's transaction is: some errors end it."""
        return self._connection is not None and self._connection.in_transaction

    @contextmanager
    def body(self) -> Iterator[Transaction]:
        """Let one writer write; after an exception `undo_body` or `undo` is to be called."""
        if self.members:
            self._run("SAVEPOINT body")
            self._is_saved = True
        transaction = Transaction(self._open(), self._touched)
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
        if self.is_open or self._connection is None:
            return False
        with suppress(apsw.Error):
            found = self._connection.execute("SELECT commit_no FROM state").get
            return bool(found >= self._last.commit_no)
        return False

    def undo(self) -> None:
        """Undo everything that is not committed."""
        for vectors in self._touched:
            vectors.undo()
        if self.is_open:
            self._run("ROLLBACK")

    def close(self) -> None:
        """Give the connection back."""
        self._lent.close()
        self._connection = None

    def _run(self, statement: str) -> None:
        self._open().execute(statement).fetchall()

    def _open(self) -> apsw.Connection:
        return cast(apsw.Connection, self._connection)
