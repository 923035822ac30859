"""Looking after a collection: verifying, repairing, compacting, and flushing it to disk."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw

from m2m_rag._handle import Handle
from m2m_rag._underway import waited_for
from m2m_rag.errors import M2MError, StorageError
from m2m_rag.index.hrm2 import snapshots
from m2m_rag.storage import compacting, derived
from m2m_rag.storage.plain import COLLECTIONS_FOLDER
from m2m_rag.storage.repairing import Plan, plan_repair
from m2m_rag.storage.reports import CompactReport, RepairReport, VerifyReport
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.transaction import Transaction
from m2m_rag.storage.verifying import verify_catalog, verify_collection

PATIENCE_S = 1.0
"""How long to wait for readers of an older state before its files are left for another time."""
ERASE_PATIENCE_S = 10.0
"""The same, when their bytes must not stay."""


class Upkeep(Handle):
    """The part of `m2m_rag.Collection` that looks after what is stored."""

    @waited_for
    def verify(self) -> VerifyReport:
        """Read everything that is stored and hold it against its checksums and counts.

        Every table and index of the catalog, every text, every vector block and every snapshot of
        the index, all of one commit. Nothing is changed; writers may go on.
        """
        folder = self._parts.store.folder
        with self._snapshot() as snapshot:
            if folder is None:
                return verify_catalog(snapshot.connection, "memory")
        return verify_collection(folder, f"{COLLECTIONS_FOLDER}/{folder.name}", check_index)

    @waited_for
    def repair(self, *, drop_damaged: bool = False) -> RepairReport:
        """Make again what is derived and damaged, and remove what nothing leads to.

        Records are never invented: those that are damaged are reported, and stay.

        Parameters
        ----------
        drop_damaged
            Delete the records whose stored bytes are damaged. Their text may be sound where the
            vector is not: read them first if it matters (`VerifyReport.lost` has the ids).
        """
        report = self.verify()
        if not report.findings or self._parts.store.folder is None:
            return RepairReport([], [], report.findings)
        self._database._begin_write()
        done: list[str] = []
        dropped: list[str] = []
        plan = plan_repair(report.findings, drop_damaged=drop_damaged)
        if plan.drop_ids or plan.is_rewriting or plan.is_rebuilding_texts:
            with self._transaction(is_alone=True) as transaction:
                plan = plan_repair(self.verify().findings, drop_damaged=drop_damaged)
                dropped = self._mend(transaction, plan, done)
            self._follow()
        self._clean(plan, done)
        return RepairReport(done, dropped, self.verify().findings)

    @waited_for
    def compact(self, *, erase: bool = False) -> CompactReport:
        """Give back the space of deleted records, in one step for every reader.

        The vectors of live records are written anew, the catalog is shrunk, and the index is built
        again in the background; searches are exact meanwhile. Readers, also in other processes, go
        on with the state that they began with.

        Parameters
        ----------
        erase
            Make sure that nothing of what was deleted or replaced is left in the folder: no text,
            id, metadata or vector. Backups made before still hold it.

        Raises
        ------
        StorageError
            The disk is full, nothing was changed; or (`erase`) a reader would not end: it is
            compacted, but the old bytes are still there.
        """
        store = self._parts.store
        with self._snapshot() as snapshot:
            n_rows, n_live = snapshot.state.n_rows, snapshot.n_live
        n_bytes = self._n_bytes()
        n_removed = 0
        self._database._begin_write()
        if n_rows > n_live or erase:
            try:
                with self._transaction(is_alone=True) as transaction:
                    n_removed = compacting.rewrite(store, transaction)
                    n_live = transaction.state.n_live
            finally:
                self._follow()
        is_settled = store.folder is None or self._settle(store.folder, erase)
        with self._explained(), self._database._writing():
            store.catalog.sync()
        return CompactReport(n_live, n_removed, n_bytes, self._n_bytes(), is_settled)

    @waited_for
    def flush(self) -> None:
        """Bring everything to its final place on disk: the catalog's log, the index's snapshot.

        With durability ``"full"`` what was acknowledged is on disk without it; it makes the next
        opening faster. With ``"normal"`` it also puts on disk what is committed by now.
        """
        self._check_open()
        self._database._begin_write()
        folder = self._parts.store.folder
        if folder is None:
            return
        self._parts.indexer.save()
        with self._explained(), self._database._writing():
            compacting.settle(folder, PATIENCE_S)
            path = folder / CATALOG_FILE
            compacting.checkpoint(path, KIND, apsw.SQLITE_CHECKPOINT_TRUNCATE, PATIENCE_S)
            self._parts.store.catalog.sync()  # readers may have been in the way

    def _mend(self, transaction: Transaction, plan: Plan, done: list[str]) -> list[str]:
        """Change the catalog as planned; return the ids of the records that were deleted."""
        rows = transaction.rows_of(plan.drop_ids)
        transaction.delete(sorted(rows.values()))
        if rows:
            done.append(f"deleted {len(rows)} records that were damaged")
        if plan.is_rewriting:
            compacting.rewrite(self._parts.store, transaction)
            done.append("wrote the vectors anew, without the damaged blocks")
        elif plan.is_rebuilding_texts:
            derived.rebuild(transaction.connection)
        if plan.is_rebuilding_texts:
            done.append("made the full-text index again")
        return list(rows)

    def _clean(self, plan: Plan, done: list[str]) -> None:
        """Remove damaged snapshots of the index, and leftovers."""
        store = self._parts.store
        root = _root(store.folder)
        for place in plan.remove:
            (root / place).unlink(missing_ok=True)
            done.append(f"removed {place}; the index is built again when it is needed")
        is_due = plan.is_sweeping or plan.is_rewriting
        if is_due and store.folder is not None and compacting.settle(store.folder, PATIENCE_S):
            done.append("removed what nothing led to")

    def _settle(self, folder: Path, erase: bool) -> bool:
        """After a commit that moved the rows: shrink the catalog, remove the older generation."""
        patience_s = ERASE_PATIENCE_S if erase else PATIENCE_S
        with self._explained(), self._database._writing():
            is_settled = compacting.settle(folder, patience_s, with_old_formats=True)
            compacting.shrink(folder)
            is_empty = compacting.checkpoint(
                folder / CATALOG_FILE, KIND, apsw.SQLITE_CHECKPOINT_TRUNCATE, patience_s
            )
        if erase and not (is_settled and is_empty):
            raise StorageError(
                f"collection {self._name!r} is compacted, but a reader of the state before has not "
                "ended, so deleted bytes are still in its folder. End it and call "
                "compact(erase=True) again."
            )
        return is_settled

    def _follow(self) -> None:
        """Let the index follow the rows' generation; without a commit, remove what was written."""
        folder = self._parts.store.folder
        with suppress(M2MError), self._database._writing():
            with self._snapshot() as snapshot:
                generation = snapshot.state.generation
            self._parts.indexer.follow(generation)
            if folder is not None:
                compacting.settle(folder, 0.0)

    def _n_bytes(self) -> int:
        folder = self._parts.store.folder
        if folder is not None:
            return compacting.folder_bytes(folder)
        with self._snapshot() as snapshot:
            return 4 * (snapshot.state.dimension or 0) * snapshot.state.n_rows


def check_index(path: Path) -> str | None:
    """Say what is wrong with a snapshot of the index, or None."""
    try:
        snapshots.check(path)
    except (M2MError, OSError) as error:
        return str(error)
    return None


def _root(folder: Path | None) -> Path:
    """Return the database's folder, from which findings name their places."""
    return Path() if folder is None else folder.parent.parent
