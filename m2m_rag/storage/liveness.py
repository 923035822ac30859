"""Which rows are live in which commit: for each row the commit in which it died.

One int64 a row, shared by all readers of the process: a reader of commit c sees row r when
``died_at[r] > c``, so readers of different commits can use the same array.
"""

from __future__ import annotations

import numpy as np

from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import MaskArray, RowArray
from m2m_rag.errors import CorruptError
from m2m_rag.storage.snapshot import Snapshot

_ALIVE = np.iinfo(np.int64).max


class Liveness:
    """Follows the tombstones of one collection."""

    def __init__(self) -> None:
        self._generation = 0
        self._died_at: RowArray = np.empty(0, dtype=np.int64)
        self._any_died = False
        self._seen = 0
        self._last: tuple[int, MaskArray] | None = None
        self._lock = ForkSafeLock()

    def mask(self, snapshot: Snapshot) -> MaskArray | None:
        """Return ``(n_rows,)`` bool of the rows live in the snapshot, or None when all are."""
        state = snapshot.state
        with self._lock:
            if state.generation != self._generation:  # other rows have these numbers now
                self._forget()
                self._generation = state.generation
            if state.n_rows > len(self._died_at):
                snapshot.check_rows()
                grown = np.full(max(state.n_rows, 2 * len(self._died_at)), _ALIVE)
                grown[: len(self._died_at)] = self._died_at
                self._died_at = grown
            if state.commit_no > self._seen:
                for row, commit_no in snapshot.tombstones_since(self._seen):
                    if type(commit_no) is not int or not 0 <= row < state.n_rows:
                        raise CorruptError(f"there is no row {row} to be dead. Restore a backup.")
                    self._died_at[row] = commit_no
                    self._any_died = True
                self._seen = state.commit_no
            expired = snapshot.expired_rows
            if not self._any_died and not len(expired):
                return None
            if self._last is None or self._last[0] != state.commit_no:
                mask = self._died_at[: state.n_rows] > state.commit_no
                mask.flags.writeable = False
                self._last = (state.commit_no, mask)
            if not len(expired):
                return self._last[1]
            mask = self._last[1].copy()
        mask[expired] = False
        mask.flags.writeable = False
        return mask

    def _forget(self) -> None:
        """Begin anew, as for a collection in which nothing died."""
        self._died_at = np.empty(0, dtype=np.int64)
        self._any_died = False
        self._seen = 0
        self._last = None
