"""Keeping a collection's index up to date in the background, and its snapshots on disk.

A collection of fewer than `INDEX_FROM` live records is searched exactly. From there on one thread
a collection builds the index, takes in new rows and takes out dead ones; searches and writes never
wait for it, because rows that the index does not hold yet are read one by one.
"""

from __future__ import annotations

import atexit
import logging
import time
import weakref
from pathlib import Path
from typing import NamedTuple

from m2m_rag._background import Background
from m2m_rag._forking import ForkSafeLock
from m2m_rag._types import Metric
from m2m_rag.compute.base import ComputeBackend
from m2m_rag.errors import M2MError
from m2m_rag.index.hrm2 import HRM2Index, snapshots
from m2m_rag.index.hrm2.growing import GROUP
from m2m_rag.index.hrm2.state import State
from m2m_rag.storage.plain import INDEX_FOLDER
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.store import CollectionStore

INDEX_FROM = 5000
"""Live records from which a collection is indexed: below, exact search takes no longer."""
PAUSE_S, PATIENCE_S = 0.2, 30.0
"""The thread begins when no commit has come for so long, or at the latest after so long, or when
somebody searches. Adding 100,000 texts in one go beside it cost 34 s of CPU time until all was
indexed, and 17 when it began after them."""
_POLL_S = 0.02
SAVE_GROWTH = 1.1
"""A snapshot is written when the index has grown by a tenth since the last one."""
KEPT_SNAPSHOTS = 2

_log = logging.getLogger(__name__)


class Held(NamedTuple):
    """An index, its present state, and the generation of rows that they are of."""

    generation: int
    hrm2: HRM2Index
    state: State | None


class _StoppedError(Exception):
    """Ends a build when its collection is closed."""


class Indexer:
    """The index of one collection and the thread that tends it.

    Parameters
    ----------
    store
        The collection's stored parts.
    backend
        Computes.
    metric
        The collection's metric.
    may_write
        Whether snapshots may be written to the collection's folder.
    generation
        Of the collection's rows: compaction numbers them anew.
    """

    def __init__(
        self,
        store: CollectionStore,
        backend: ComputeBackend,
        metric: Metric,
        may_write: bool,
        generation: int,
    ) -> None:
        self.index = HRM2Index(backend, metric)
        self._metric = metric
        self._generation = generation
        self._store = store
        self.backend = backend
        self._may_write = may_write
        self._lock = ForkSafeLock()
        self._thread: Background | None = None
        self._is_stopped = False
        self._is_searched = False
        self._committed_s = 0.0
        self._loaded = False
        self._file: snapshots.Mapped | None = None
        self._saved_rows = 0
        self._seen_rows = 0
        self._failed_rows = -1
        _indexers.add(self)

    def hold(self) -> Held:
        """Return the index as it is now; to be called before a snapshot is begun.

        Rows that its state lacks because they are dead are then dead in the snapshot, too.
        """
        with self._lock:
            if self._file is not None and not self._file.is_whole():
                _log.warning("an index snapshot was cut off while in use; the index is made again")
                self._forget()
            return Held(self._generation, self.index, self.index.state)

    def fitting(self, held: Held, snapshot: Snapshot) -> Held:
        """Return what was held, or an empty index when it is of other rows than the snapshot's."""
        if held.generation == snapshot.state.generation:
            return held
        return Held(snapshot.state.generation, HRM2Index(self.backend, self._metric), None)

    def follow(self, generation: int) -> None:
        """Begin a new index when the collection's rows were numbered anew."""
        with self._lock:
            if generation > self._generation:
                self._generation = generation
                self._forget()

    def tend(self, snapshot: Snapshot) -> None:
        """Look after the index at a search."""
        self.follow(snapshot.state.generation)
        if snapshot.state.n_live >= INDEX_FROM and not self._loaded:
            self.load(snapshot)
        self._is_searched = True
        self._start(snapshot.state.n_live, snapshot.state.n_rows)

    def consider(self, n_live: int, n_rows: int) -> None:
        """Look after the index after a commit."""
        self._committed_s = time.monotonic()
        self._start(n_live, n_rows)

    def _start(self, n_live: int, n_rows: int) -> None:
        """Start the thread when there is something to do. Costs nothing when there is not."""
        if self._wants(n_live, n_rows):
            with self._lock:
                is_idle = self._thread is None or not self._thread.is_alive()
                if is_idle and not self._is_stopped:
                    try:
                        self._thread = Background(self._run)
                    except (RuntimeError, MemoryError) as error:  # or the interpreter ends
                        _log.warning("the index is not tended for now: %s", str(error))

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the thread has nothing more to do; return whether it came to that."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            thread.join(timeout_s)
            return not thread.is_alive()
        return True

    def is_done(self, n_live: int, n_rows: int) -> bool:
        """Tell whether it has taken in so many rows, and nothing is to be done about them."""
        return n_rows != self._failed_rows and not self._wants(n_live, n_rows)

    def load(self, snapshot: Snapshot) -> None:
        """Take the newest snapshot on disk that fits, once."""
        with self._lock:
            is_older = snapshot.state.generation != self._generation
            if self._loaded or self._store.folder is None or is_older:
                return
            self._loaded = True
            state = snapshot.state
            for path in snapshots.newest(self._folder(state.generation)):
                try:
                    found = snapshots.load(
                        path,
                        self.index.settings,
                        self._owner(snapshot),
                        state.n_rows,
                        self.backend,
                    )
                except (M2MError, OSError) as error:
                    _log.warning("index snapshot not used: %s", error)
                    continue
                if found is not None:
                    self.index.put(found.state)
                    self._file = found.file
                    self._saved_rows = found.state.n_indexed
                    return

    def save(self) -> None:
        """Write a snapshot of the index when it has grown since the last one."""
        self._save_when(self.index, self._saved_rows + 1)

    def close(self) -> None:
        """Stop the thread; what it had not finished is done again another time."""
        with self._lock:
            self._is_stopped = True
            thread = self._thread
        if thread is not None and not thread.is_current():
            thread.join()

    def _wants(self, n_live: int, n_rows: int) -> bool:
        state = self.index.state
        if n_rows == self._failed_rows:  # what failed is tried again when rows have come
            return False
        if not n_live:
            return False
        if state is None:
            return n_live >= INDEX_FROM
        is_behind = n_rows - n_rows % GROUP > state.n_indexed
        return is_behind or self.index.wants(n_live, n_rows - n_live)

    def _run(self) -> None:
        try:
            while self._step():
                self._check()
        except _StoppedError:
            pass
        except Exception as error:
            if not self._is_stopped:
                self._failed_rows = self._seen_rows
                _log.warning(
                    "the index was not brought up to date; searches go on without: %s",
                    error,
                    exc_info=not isinstance(error, M2MError),
                )

    def _step(self) -> bool:
        """Do what is to be done about one commit; return whether there may be more."""
        self._let_writers_finish()
        self._check()
        with self._store.catalog.snapshot() as snapshot:
            state = snapshot.state
            self.follow(state.generation)
            index = self.hold().hrm2
            self._seen_rows = state.n_rows
            if state.n_live >= INDEX_FROM and not self._loaded:
                self.load(snapshot)
                index = self.index
            if state.dropped or not self._wants(state.n_live, state.n_rows):
                return False
            segments = self._store.segments(snapshot)
            alive = self._store.liveness.mask(snapshot)
        held = index.state
        if held is None or index.wants_rebuild(state.n_live, state.n_rows - held.n_indexed):
            index.build(segments, alive, self._check)
        else:
            index.extend(segments, alive, self._check)
        self._save_when(index, int(SAVE_GROWTH * self._saved_rows))
        return index.state is not held

    def _forget(self) -> None:
        """Begin a new index."""
        self.index = HRM2Index(self.backend, self._metric)
        self._loaded = False
        self._file = None
        self._saved_rows = 0
        self._failed_rows = -1

    def _let_writers_finish(self) -> None:
        """Wait while commits follow one another and nobody searches."""
        latest_s = time.monotonic() + PATIENCE_S
        while not self._is_searched and not self._is_stopped:
            now_s = time.monotonic()
            if now_s - self._committed_s >= PAUSE_S or now_s >= latest_s:
                break
            time.sleep(_POLL_S)
        self._is_searched = False

    def _check(self) -> None:
        if self._is_stopped:
            raise _StoppedError

    def _save_when(self, index: HRM2Index, least_rows: int) -> None:
        """Write a snapshot of an index that holds so many rows and is still in use.

        A transaction is open meanwhile, so a compaction cannot have swept the folder before. What
        the index holds is on disk before: rows that a power loss took would be written anew.
        """
        state = index.state
        if state is None or self._store.folder is None or not self._may_write:
            return
        if state.n_indexed < least_rows or not self._store.folder.exists():
            return
        self._store.catalog.sync()
        with self._store.catalog.snapshot() as snapshot:
            held = self.hold()
            if held.hrm2 is index and held.generation == snapshot.state.generation:
                self._save(state, index, snapshot)

    def _save(self, state: State, index: HRM2Index, snapshot: Snapshot) -> None:
        folder = self._folder(snapshot.state.generation)
        self._saved_rows = state.n_indexed
        try:
            snapshots.save(state, index.settings, self._owner(snapshot), folder)
            for old in snapshots.newest(folder)[KEPT_SNAPSHOTS:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the index snapshot was not written: %s", error)

    def _folder(self, generation: int) -> Path:
        root = self._store.folder or Path()
        return root / INDEX_FOLDER / str(generation)

    @staticmethod
    def _owner(snapshot: Snapshot) -> dict[str, object]:
        state = snapshot.state
        return {
            "collection": state.collection.hex(),
            "generation": state.generation,
            "dimension": state.dimension,
        }


_indexers: weakref.WeakSet[Indexer] = weakref.WeakSet()


def _stop_all() -> None:
    """End all threads before the interpreter goes: compiled code must not outlive it."""
    for indexer in list(_indexers):
        indexer.close()


atexit.register(_stop_all)
