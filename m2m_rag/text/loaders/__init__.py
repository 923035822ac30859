"""Loaders: which file formats are read, and by which module."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.loaders.base import Loader, Section, with_title
from m2m_rag.text.loaders.source_code import LANGUAGES

__all__ = ["LOADERS", "Loader", "Section", "extension", "load", "with_title"]

_HERE = "m2m_rag.text.loaders"
LOADERS: dict[str, str] = {
    **dict.fromkeys(LANGUAGES, f"{_HERE}.source_code"),
    ".txt": f"{_HERE}.plain",
    ".text": f"{_HERE}.plain",
    ".md": f"{_HERE}.markdown",
    ".markdown": f"{_HERE}.markdown",
    ".rst": f"{_HERE}.rst",
    ".html": f"{_HERE}.html_page",
    ".htm": f"{_HERE}.html_page",
    ".xhtml": f"{_HERE}.html_page",
    ".pdf": f"{_HERE}.pdf",
    ".jsonl": f"{_HERE}.jsonl",
    ".ndjson": f"{_HERE}.jsonl",
    ".jsonl.gz": f"{_HERE}.jsonl",
    ".csv": f"{_HERE}.csv_rows",
    ".tsv": f"{_HERE}.csv_rows",
}
"""Extension (lower case) -> module whose function ``load`` reads it."""


def extension(path: Path) -> str | None:
    """Return the registered extension that the file's name ends with, or None."""
    name = path.name.lower()
    suffixes = (name[at:] for at, letter in enumerate(name) if letter == "." and at > 0)
    return next((suffix for suffix in suffixes if suffix in LOADERS), None)


def load(path: Path) -> Iterator[Section]:
    """Return the sections of a file, read by the loader of its extension.

    Raises
    ------
    InvalidInputError
        No loader reads this extension, or (while iterating) the file is damaged.
    """
    found = extension(path)
    if found is None:
        raise InvalidInputError(
            f"{path}: no loader reads files of this name. "
            f"Expected one of the extensions {' '.join(sorted(LOADERS))}."
        )
    loader = cast(Loader, importlib.import_module(LOADERS[found]).load)
    return loader(path)
