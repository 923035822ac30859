"""What an ingest tells: a progress event now and then, and a report at the end."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """Where an ingest stands.

    Attributes
    ----------
    source
        The source being worked on.
    n_done
        Sources that are finished: stored durably, skipped, empty or failed.
    n_sources
        Sources altogether, or None where that isn't known beforehand.
    n_passages
        Passages stored durably so far.
    n_embedded
        Texts embedded so far.
    """

    source: str
    n_done: int
    n_sources: int | None
    n_passages: int
    n_embedded: int


class FailedSource(NamedTuple):
    """A source that could not be read, and why.

    What the collection held of it is unchanged; only a source of more than one commit that fails
    or changes in the middle of being stored is there in part, and the next ingest mends it.
    """

    source: str
    reason: str


class IngestReport(NamedTuple):
    """What an ingest did.

    Attributes
    ----------
    added, updated, deleted, skipped
        Names of sources: new ones, changed ones, those no longer there, unchanged ones.
    empty
        Sources without any text (such as scanned PDFs); the collection holds nothing of them.
    failed
        Sources that could not be read.
    ignored
        How many files and folders were passed over: hidden, excluded, of unsupported extension,
        links to folders.
    n_passages
        Passages written.
    n_embedded
        Texts embedded; the others had their vector in the collection already.
    """

    added: list[str]
    updated: list[str]
    deleted: list[str]
    skipped: list[str]
    empty: list[str]
    failed: list[FailedSource]
    ignored: int
    n_passages: int
    n_embedded: int

    def __str__(self) -> str:
        """Return the counts in one line, and a line for each failed source."""
        first = (
            f"{len(self.added)} added, {len(self.updated)} updated, {len(self.deleted)} deleted, "
            f"{len(self.skipped)} skipped, {len(self.empty)} empty, {len(self.failed)} failed, "
            f"{self.ignored} ignored; "
            f"{self.n_passages} passages written, {self.n_embedded} texts embedded"
        )
        return "\n".join([first, *(f"failed: {one.source}: {one.reason}" for one in self.failed)])
