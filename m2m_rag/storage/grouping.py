"""Writers that come at the same time share one commit, and so its syncs.

Writers of a collection take turns. The one whose turn is over hands its open transaction to the
next in the queue and waits; the last in the queue puts the vectors on disk, commits, and wakes the
others. So nobody waits for company: a writer that is alone commits at once. A call returns when its
own write is on disk. What raises undoes its own write (a savepoint) and nothing of the others';
when the commit itself fails, all of it is undone and every member of the group gets the error.

Each write keeps a commit number of its own. Readers see a group's writes together.

In memory and with durability ``"off"`` there is nothing to share, so each write is a commit; with
``"normal"`` it is the sync of the vectors that is shared.

Adds of one row (8 dimensions, a text) on 2 cores, before and with groups:

=========================================  ==========  ============
16 threads, a cloud disk: adds a second    184 to 288  1140 to 1207
16 threads, a sync takes 3 ms: the same    131 to 135    840 to 866
syncs an add                                      2.0          0.19
99 of 100 adds took less than, ms          259 to 338            31
one thread: µs of CPU an add (of 8 runs)          486           468
=========================================  ==========  ============

An interrupt (``KeyboardInterrupt``) of a writer that waits for its turn takes it out of the queue:
nothing was written. Of one that waits for its group, it is raised when the group has ended, and the
write is stored unless the group failed. In the middle of the commit itself it is raised once it is
known what became of it: either all of the group is stored, or nothing is and the others get a
`StorageError`. Where an interrupt cuts off the very steps that pass the turn on, the next writer
takes it: at once when it comes later, within a second when it waits already (16,000 interrupts of
one thread, at random microseconds: no hang, nothing lost). What a signal handler or a finalizer
would write in the middle of a write of the same thread is refused (`nesting`).
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import apsw

from m2m_rag._forking import ForkSafe
from m2m_rag.errors import StorageError, SyncError
from m2m_rag.storage.fork_gate import GATE
from m2m_rag.storage.group import Group, Member
from m2m_rag.storage.nesting import is_on_stack, user_frame
from m2m_rag.storage.sqlite import translated
from m2m_rag.storage.transaction import Transaction


class Writers(ForkSafe):
    """The queue of those who write to one collection in this process.

    Parameters
    ----------
    lend
        Lends a connection to the catalog; the thread that gives it back may be another one.
    path
        The catalog's file, for messages.
    note
        Called after each commit with the last write in it.
    shares
        Whether writers share commits.
    """

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[apsw.Connection]],
        path: Path | None,
        note: Callable[[Transaction], None],
        *,
        shares: bool,
    ) -> None:
        super().__init__()
        self.when_undone: Callable[[], None] = lambda: None
        """Called when a write was undone, before anyone else writes."""
        self._lend = lend
        self._path = path
        self._note = note
        self._shares = shares
        self._failure: SyncError | None = None
        self._lock = threading.Lock()
        self._queue: deque[Member] = deque()
        self._by_thread: dict[int, Member] = {}
        self._owner: Member | None = None
        self._group: Group | None = None

    def check(self) -> None:
        """Raise when a sync has failed: what came before it may be lost without a word."""
        if self._failure is not None:
            raise _for_others(self._failure)

    def refuse(self, failure: SyncError) -> None:
        """Take no more writes after a sync that failed."""
        self._failure = failure

    @contextmanager
    def transaction(self, *, is_alone: bool) -> Iterator[Transaction]:
        """Wait for the turn, write, and wait until it is on disk."""
        member = Member(user_frame(), is_alone=is_alone or not self._shares)
        self._refuse_nested(member.thread)
        try:
            self._by_thread[member.thread] = member
            self._take_turn(member)
            with translated(self._path), self._begun().body() as transaction:
                yield transaction
            self._go_on(member)
            if member.wait_for_end(self._take_lost):
                self._pass_on()
        except BaseException as error:
            if self._has_turn(member):  # else it was passed on, or an interrupt came before it
                self._undo_body(error)
            raise
        finally:
            member.has_left = True  # first, where no interrupt can come before
            member.user = None
            self._by_thread.pop(member.thread, None)  # a nested one may have come and gone
            if member.admission is not None:
                GATE.leave(member.admission)

    def _refuse_nested(self, thread: int) -> None:
        """Raise when this thread is in the middle of a write."""
        outer = self._by_thread.get(thread)
        if outer is not None and not outer.has_left and is_on_stack(outer.user):
            raise StorageError(
                "a write to this collection is under way in this very thread, which a signal "
                "handler or a finalizer has interrupted. Nothing was written by this one. Write "
                "when the other has ended, or from another thread."
            )

    def _take_turn(self, member: Member) -> None:
        """Wait for the turn, or take a lost one.

        Nested writes are refused, so one that finds the turn its own has lost it as well.
        """
        with self._lock:
            owner = self._owner
            is_lost = owner is not None and (owner.has_left or owner.thread == member.thread)
            is_first = is_lost or owner is None
            if is_first:
                self._owner = member
            else:
                self._queue.append(member)
        if is_lost:
            self._recover()
        if not is_first:
            member.wait_for_turn(self._take_lost)
            with self._lock:
                self._queue.remove(member)

    def _take_lost(self, member: Member) -> bool:
        """Take the turn from a writer that an interrupt has cut off from passing it on."""
        with self._lock:
            if self._owner is None or not self._owner.has_left:
                return False
            self._owner = member
        self._recover()
        return True

    def _recover(self) -> None:
        """End a group that an interrupt has left behind."""
        group = self._group
        if group is None:
            return
        is_stored = group.has_committed() if group.is_stored is None else group.is_stored
        self._settle(group, None if is_stored else KeyboardInterrupt())

    def _has_turn(self, member: Member) -> bool:
        """Tell whether a member has the turn; it does not wait for it any more."""
        with self._lock:
            if member in self._queue:
                self._queue.remove(member)
            return self._owner is member

    def _begun(self) -> Group:
        """Return the group that was handed over, or a new one."""
        self.check()
        if self._group is None:
            self._group = Group(self._lend)
            self._group.begin()
        return self._group

    def _undo_body(self, error: BaseException) -> None:
        """After a body that raised: undo it, and the whole group where that is not possible."""
        group = self._group
        if group is None:
            self._pass_on()
            return
        if not group.members or not group.is_open:
            self._end(group, error)
            return
        try:
            self.when_undone()
            with translated(self._path):
                group.undo_body()
        except BaseException as worse:
            self._end(group, worse)
            raise
        self._go_on(None)

    def _go_on(self, member: Member | None) -> None:
        """Let the next writer go on with the group, or commit it; `member` has written in it."""
        group = cast(Group, self._group)
        if member is not None:
            group.members.append(member)
        if (member is not None and member.is_alone) or not self._hand_over(group):
            self._commit(group, member)

    def _hand_over(self, group: Group) -> bool:
        """Give the turn with the group to the next writer, unless it is time to commit.

        A fork waits for those inside its gate, so it is not kept waiting by more and more of them;
        the next writer is let in by this one, for it may use SQLite on connections of its own.
        """
        if group.is_full or GATE.is_closing:
            return False
        with self._lock:
            if not self._queue or self._queue[0].is_alone:
                return False
            follower = self._queue[0]
            follower.admission = GATE.admit(follower.thread)
            self._call(follower)
        return True

    def _commit(self, group: Group, member: Member | None) -> None:
        """Commit the group; raise what befalls it, unless the caller has an error of its own."""
        failure: BaseException | None = None
        is_stored = True
        try:
            with translated(self._path):
                self._note(group.commit())
        except BaseException as error:
            failure = error
            is_known = isinstance(error, StorageError | MemoryError)
            is_stored = not is_known and group.has_committed()
        group.is_stored = is_stored
        self._end(group, None if is_stored else failure)
        if failure is not None and (member is not None or not isinstance(failure, Exception)):
            raise failure

    def _end(self, group: Group, failure: BaseException | None) -> None:
        """Undo the group where it failed, wake its members, and pass the turn on."""
        try:
            self._settle(group, failure)
        finally:
            self._pass_on()

    def _settle(self, group: Group, failure: BaseException | None) -> None:
        """Undo the group where it failed, and wake its members."""
        try:
            if isinstance(failure, SyncError):
                self.refuse(failure)
            with translated(self._path):
                try:
                    if failure is not None:
                        self.when_undone()
                        group.undo()
                finally:
                    group.close()  # a connection that is in a transaction is not lent again
        finally:
            self._group = None
            for member in group.members:
                member.end(None if failure is None else _for_others(failure))

    def _pass_on(self) -> None:
        """Give the turn to the next writer."""
        with self._lock:
            if self._queue:
                self._call(self._queue[0])
            else:
                self._owner = None

    def _call(self, follower: Member) -> None:
        """Give the turn to the first in the queue, which leaves the queue by itself.

        Python lets no interrupt in between an assignment and the C function that is called next.
        """
        call = follower.called.release
        self._owner = follower
        call()

    def _renew(self) -> None:
        """See `ForkSafe`; a group that a fork did not wait for is kept: nobody may close it."""
        self._lock = threading.Lock()
        self._queue.clear()
        self._by_thread.clear()
        self._owner = None
        self._lost, self._group = self._group, None


def _for_others(failure: BaseException) -> Exception:
    """Return an error for those whose writes were undone by a failure in another thread."""
    if isinstance(failure, StorageError | MemoryError):
        error: Exception = copy.copy(failure)
    else:
        error = StorageError(
            "the write was undone, because the call that committed it together with others was "
            f"interrupted ({type(failure).__name__}). Try again."
        )
    error.__cause__ = failure
    return error
