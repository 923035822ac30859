"""Sources of text: files below a folder, and documents in memory."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.ids import document_hash, file_hash
from m2m_rag.text.loaders import LOADERS, Section, extension, load
from m2m_rag.text.report import FailedSource
from m2m_rag.text.splitting import TextKind


class Source(Protocol):
    """Something that text comes from, under a name that is unique below its root."""

    @property
    def source(self) -> str:
        """The name: for files the POSIX path relative to the root."""
        ...

    def content_hash(self) -> str:
        """Return a hash that changes whenever the content does."""
        ...

    def sections(self) -> Iterator[Section]:
        """Return the content; may be called again."""
        ...


@dataclass(frozen=True, slots=True)
class TextDocument:
    """A document in memory.

    Attributes
    ----------
    source
        Its name, unique below the root that it is ingested under.
    text
        Its text.
    title
        Its title; the name when there is none.
    metadata
        JSON metadata for each of its passages.
    kind
        How it is split: ``"prose"``, ``"markdown"`` or ``"code"``.
    """

    source: str
    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    kind: TextKind = "prose"

    def content_hash(self) -> str:
        """Return the hash of text, title, metadata and kind."""
        return document_hash(self.text, self.title, dict(self.metadata), self.kind)

    def sections(self) -> Iterator[Section]:
        """Yield the document as one section."""
        yield Section(self.text, self.title or self.source, kind=self.kind, metadata=self.metadata)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on disk."""

    path: Path
    source: str

    def content_hash(self) -> str:
        """Return the hash of the file's bytes."""
        return file_hash(self.path)

    def sections(self) -> Iterator[Section]:
        """Return what the loader of the file's extension yields."""
        return load(self.path)


class Listing(NamedTuple):
    """The files found below a root, in the order of their names."""

    files: list[FileSource]
    failed: list[FailedSource]
    ignored: int


def list_file(path: Path) -> Listing:
    """Return the listing of one file, whose root is the folder that it lies in.

    Raises
    ------
    InvalidInputError
        No loader reads this extension.
    """
    if extension(path) is None:
        raise InvalidInputError(
            f"{path}: no loader reads files of this name. "
            f"Expected one of the extensions {' '.join(sorted(LOADERS))}."
        )
    return Listing([FileSource(path, path.name)], [], 0)


def list_folder(
    root: Path, include: Sequence[str], exclude: Sequence[str], leave_out: Path | None
) -> Listing:
    """Return the readable files below `root`.

    Hidden names (with a dot before them), extensions that no loader reads, what the patterns
    leave out, `leave_out` (the database's own folder) and links to folders (which may be loops)
    are counted as ignored.
    """
    files: list[FileSource] = []
    failed: list[FailedSource] = []
    ignored = 0

    def fail(path: str, error: OSError) -> None:
        name = Path(path).relative_to(root).as_posix()
        failed.append(FailedSource(name, f"cannot be read: {error.strerror or error}"))

    for folder, subfolders, names in os.walk(
        root, onerror=lambda error: fail(error.filename, error)
    ):
        kept = [
            name
            for name in sorted(subfolders)
            if not name.startswith(".")
            and not os.path.islink(os.path.join(folder, name))
            and Path(folder, name) != leave_out
        ]
        ignored += len(subfolders) - len(kept)
        subfolders[:] = kept
        for name in names:
            path = Path(folder, name)
            source = path.relative_to(root).as_posix()
            is_wanted = _matches(source, include or ["*"]) and not _matches(source, exclude)
            if name.startswith(".") or extension(path) is None or not is_wanted:
                ignored += 1
            elif path.is_file():
                files.append(FileSource(path, source))
            elif path.is_symlink():
                failed.append(FailedSource(source, "the link leads to no file. Mend or remove it."))
            else:
                ignored += 1
    files.sort(key=lambda file: file.source)
    return Listing(files, failed, ignored)


def _matches(source: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(source, pattern) for pattern in patterns)
