"""Bring a folder's documents into a collection, again and again, paying only for what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from m2m_rag._optional import require
from m2m_rag.collection import Collection
from m2m_rag.errors import InvalidInputError, M2MError
from m2m_rag.text.embedders import Embedder, as_embedder
from m2m_rag.text.plan import chunks, decide, held_sources
from m2m_rag.text.records import STATE_FIELDS, Piece, pieces
from m2m_rag.text.report import FailedSource, IngestReport, Progress
from m2m_rag.text.sources import Listing, Source, TextDocument, list_file, list_folder
from m2m_rag.text.splitting import Splitter
from m2m_rag.text.write import COMMIT_PASSAGES, Writer

OnProgress: TypeAlias = Callable[[Progress], None]
_DELETE_SOURCES = 256


def ingest(
    path: str | Path,
    collection: Collection,
    embedder: Embedder | object,
    *,
    splitter: Splitter | None = None,
    batch_size: int = 64,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    delete_missing: bool = True,
    on_progress: OnProgress | None = None,
) -> IngestReport:
    """Split, embed and store the files of a folder, or one file.

    Running it again is cheap and changes nothing: a source whose bytes, splitter and passages are
    as stored is skipped; of a changed one only texts without a vector in the collection are
    embedded. All state is in the collection itself. A source of up to 512 passages is swapped in
    one commit (several small sources share one); a larger one is written in several, and what it
    no longer has is deleted at the end. After a crash, run it again: what was committed is not
    embedded again.

    Memory is bounded by a few commits of passages, plus for each source a few hundred bytes and
    for each passage of the largest source some 200.

    Parameters
    ----------
    path
        A folder, read with everything below it, or a file, whose root is the folder it lies in.
    collection
        Where to store. The first commit binds it to the embedder's fingerprint.
    embedder
        An `Embedder`, or anything that `as_embedder` takes.
    splitter
        How to split; ``Splitter()`` when None.
    batch_size
        Texts given to the embedder at once.
    include, exclude
        Patterns of POSIX paths relative to the folder, such as ``"*.md"`` or ``"drafts/*"``
        (``*`` also matches ``/``): read only matching files; leave matching files out.
    delete_missing
        Whether to delete the passages of sources that are no longer on disk (only for folders).
        Files that are there but left out, or that fail, keep their stored passages.
    on_progress
        Called with a `Progress` as work goes on.

    Raises
    ------
    InvalidInputError
        The path does not exist, or is a file that no loader reads.
    EmbedderMismatchError
        Another embedder filled the collection.
    MissingExtraError
        A package that splitting or the embedder needs is not installed.
    """
    given = Path(path)
    check_path(given)
    resolved = given.resolve()
    if resolved.is_dir():
        store = collection.database.path
        listing = list_folder(
            resolved, _patterns(include), _patterns(exclude), store.resolve() if store else None
        )
        root, only = resolved, None
    else:
        listing = list_file(resolved)
        root, only = resolved.parent, resolved.name
    run = _Run(root.as_posix(), collection, embedder, splitter, batch_size, on_progress, only)
    run.store(listing.files, len(listing.files))
    if only is None and delete_missing:
        run.delete({source for source in run.unseen() if not _is_there(root / source)})
    return run.report(listing)


def check_path(path: Path) -> None:
    """Raise `InvalidInputError` unless there is a file or folder at `path`."""
    try:
        is_there = path.exists()
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read: {error.strerror}. Expected a folder or a file to ingest."
        ) from error
    if not is_there:
        raise InvalidInputError(f"{path} does not exist. Expected a folder or a file to ingest.")


def ingest_texts(
    documents: Iterable[TextDocument],
    collection: Collection,
    embedder: Embedder | object,
    *,
    root: str = "texts",
    splitter: Splitter | None = None,
    batch_size: int = 64,
    delete_missing: bool = False,
    on_progress: OnProgress | None = None,
) -> IngestReport:
    """Split, embed and store documents that are in memory, as `ingest` does with files.

    Parameters
    ----------
    documents
        The documents, taken one by one; a source named twice fails the second time.
    root
        Name under which the sources are known; another root is another set of sources.
    delete_missing
        Whether to delete sources of this root that are not among the documents.

    The other parameters and the errors are those of `ingest`.
    """
    run = _Run(root, collection, embedder, splitter, batch_size, on_progress, None)
    total = len(documents) if isinstance(documents, Sequence) else None
    run.store(documents, total)
    if delete_missing:
        run.delete(run.unseen())
    return run.report(Listing([], [], 0))


class _Run:
    """One ingest under one root: executes the plan and keeps the tally."""

    def __init__(
        self,
        root: str,
        collection: Collection,
        embedder: Embedder | object,
        splitter: Splitter | None,
        batch_size: int,
        on_progress: OnProgress | None,
        only: str | None,
    ) -> None:
        if batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size}. Expected at least 1.")
        # Asked for here, so that its absence is one error and not one for each source.
        require("semantic_text_splitter", "text")
        self._root = root
        self._splitter = splitter or Splitter()
        self._on_progress = on_progress
        self._n_sources: int | None = None
        self._source = ""
        self._report = IngestReport([], [], [], [], [], [], 0, 0, 0)
        self._seen: set[str] = set()
        chosen = as_embedder(embedder)
        # A collection without one is bound by the first commit: an embedder whose model cannot be
        # loaded must not keep the right one out for good.
        if collection.embedder is not None:
            collection.bind_embedder(chosen.fingerprint)
        self._held = held_sources(_metadatas(collection, root, only))
        self._writer = Writer(collection, chosen, root, batch_size, self._tell)

    def store(self, sources: Iterable[Source], n_sources: int | None) -> None:
        """Bring the collection to what the sources hold."""
        self._n_sources = n_sources
        for source in sources:
            self._source = source.source
            self._tell()
            try:
                self._store(source)
            except _LoadError as failure:
                self._report.failed.append(FailedSource(*failure.args))
            self._seen.add(source.source)
        self._writer.flush()
        self._tell()

    def unseen(self) -> set[str]:
        """Return the sources that the collection holds and `store` wasn't given."""
        return self._held.keys() - self._seen

    def delete(self, sources: Iterable[str]) -> None:
        """Delete these sources."""
        for some in chunks(sources, _DELETE_SOURCES):
            self._writer.delete(some)
            self._report.deleted.extend(some)

    def report(self, listing: Listing) -> IngestReport:
        """Return the tally, with what was noted while listing."""
        return self._report._replace(
            empty=[_printable(name) for name in self._report.empty],
            failed=[
                FailedSource(_printable(one.source), _printable(one.reason))
                for one in [*listing.failed, *self._report.failed]
            ],
            ignored=listing.ignored,
            n_passages=self._writer.n_passages,
            n_embedded=self._writer.n_embedded,
        )

    def _store(self, source: Source) -> None:
        name = source.source
        if name in self._seen:
            raise _LoadError(name, "the name was given already in this ingest. Rename one.")
        held = self._held.get(name)
        with _loading(name):
            source_hash = source.content_hash()
        action = decide(source_hash, self._splitter.fingerprint, held)
        if action == "skipped":
            self._report.skipped.append(name)
            return
        # The first pass only loads and splits, so a source that cannot be read changes nothing.
        with _loading(name):
            found = self._pieces(source, source_hash)
            first = list(islice(found, COMMIT_PASSAGES + 1))
            n_passages = len(first) + sum(1 for _ in found)
        if n_passages <= COMMIT_PASSAGES:
            self._writer.stage(name, held is not None, first)
        else:
            first.clear()
            self._writer.write_large(name, n_passages, self._pieces(source, source_hash))
            # Read twice, a file may have changed between: what is stored would mix two versions.
            with _loading(name):
                is_same = source.content_hash() == source_hash
            if not is_same:
                raise _LoadError(name, "it changed while it was being stored. Ingest it again.")
        done = self._report.added if action == "added" else self._report.updated
        (done if n_passages else self._report.empty).append(name)

    def _pieces(self, source: Source, source_hash: str) -> Iterator[Piece]:
        # Failures of the loader are told apart from those of the store, which consumes this.
        with _loading(source.source):
            yield from pieces(
                source.sections(), self._splitter, self._root, source.source, source_hash
            )

    def _tell(self) -> None:
        if self._on_progress is not None:
            done = len(self._seen) - self._writer.n_waiting
            self._on_progress(
                Progress(
                    self._source,
                    done,
                    self._n_sources,
                    self._writer.n_passages,
                    self._writer.n_embedded,
                )
            )


class _LoadError(Exception):
    """Loading a source failed: its name and the reason."""


@contextmanager
def _loading(source: str) -> Iterator[None]:
    try:
        yield
    except (M2MError, OSError) as error:
        raise _LoadError(source, str(error)) from error


def _metadatas(collection: Collection, root: str, only: str | None) -> Iterator[Mapping[str, Any]]:
    """Yield the metadata of what was ingested under `root` (of one source, if `only` names it)."""
    # One pass over the records, one at a time: a filter would read as much, and return a list.
    for record in collection:
        metadata = record.metadata
        is_ours = metadata.get("root") == root and metadata.keys() >= STATE_FIELDS
        if is_ours and only in (None, metadata["source"]):
            yield metadata


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # Its folder cannot be entered, so nothing is known about it.
        return True


def _patterns(patterns: str | Sequence[str]) -> Sequence[str]:
    return [patterns] if isinstance(patterns, str) else patterns


def _printable(text: str) -> str:
    """Return `text` without the lone surrogates that stand for bytes of odd file names."""
    return text.encode("utf-8", "replace").decode("utf-8")
