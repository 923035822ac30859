"""Connections to a database, lent to one thread at a time, and taken back before a fork."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import apsw

from m2m_rag._forking import ForkSafeLock
from m2m_rag._presence import Presence
from m2m_rag.errors import ClosedError
from m2m_rag.storage.fork_gate import GATE, POLL_S
from m2m_rag.storage.frozen import check_current, is_current
from m2m_rag.storage.guarding import guard


class ConnectionPool:
    """Connections to one database, each used by one thread at a time.

    A database in memory has a single connection, which its users share in turn.

    SQLite keeps one account of file locks a process, and a forked child inherits the account but
    not the locks. So a fork waits until all connections are back (see `fork_gate`) and closes them:
    a child that inherits none opens its own and takes locks of its own.
    """

    def __init__(self, connect: Callable[[], apsw.Connection], *, single: bool) -> None:
        self._connect = connect
        self._single = single
        self._turn = ForkSafeLock()
        self._idle: list[apsw.Connection] = []
        self._lent = Presence()
        self._lock = ForkSafeLock()
        self._closed = False
        with _pools_lock:
            _pools.add(self)

    @contextmanager
    def connection(self) -> Iterator[apsw.Connection]:
        """Lend a connection.

        Raises
        ------
        ClosedError
            After `close`.
        """
        if self._single:
            with self._turn, GATE.inside():
                self._check_open()
                if not self._idle:
                    self._idle.append(guard(self._connect()))
                yield self._idle[0]
            return
        inside = GATE.enter()
        try:
            loan = self._lent.enter()
            connection: apsw.Connection | None = None
            try:
                connection = self._borrow() or guard(self._connect())
                yield connection
                check_current(connection)
            finally:
                if connection is not None:
                    self._take_back(connection)
                self._lent.leave(loan)
        finally:
            GATE.leave(inside)

    def close(self) -> None:
        """Lend no more, wait for the connections that other threads use, and close all."""
        if self._single:
            with self._turn:
                self._closed = True
                self._close_all()
            return
        with self._lock:
            self._closed = True
        while self._lent.threads() - {threading.get_ident()}:
            time.sleep(POLL_S)
        self._close_all()

    def close_idle(self) -> None:
        """Close the connections that nobody uses; the next user opens a new one."""
        if not self._single:
            self._close_all()

    def renew(self) -> None:
        """In a forked child: forget what the parent's other threads had borrowed."""
        self._lent.keep(threading.get_ident())

    def _borrow(self) -> apsw.Connection | None:
        """Return an idle connection, or None; a loan that is noted before this is waited for."""
        with self._lock:
            self._check_open()
            while self._idle:
                connection = self._idle.pop()
                if is_current(connection):
                    return connection
                connection.close()
            return None

    def _take_back(self, connection: apsw.Connection) -> None:
        """Keep a connection for the next user, unless a transaction was not ended on it."""
        if connection.in_transaction:
            connection.close(True)  # which ends it; where a traceback holds it, dropping does not
        else:
            with self._lock:
                self._idle.append(connection)

    def _close_all(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        if idle:
            with GATE.inside():
                for connection in idle:
                    connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the database was closed. Open it again with Database(path).")


_pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
_pools_lock = ForkSafeLock()


def _all_pools() -> list[ConnectionPool]:
    with _pools_lock:
        return list(_pools)


def _before_fork() -> None:
    GATE.close()
    for pool in _all_pools():
        pool.close_idle()


def _after_in_child() -> None:
    GATE.renew()
    for pool in _all_pools():
        pool.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=GATE.open, after_in_child=_after_in_child
    )
