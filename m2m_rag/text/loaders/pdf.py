"""PDF: one section a page, by pypdf. Scanned pages have no text; no character recognition is done.

A PDF that is encrypted with an empty user password is read; any other password makes it fail.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m2m_rag._optional import require
from m2m_rag.errors import InvalidInputError
from m2m_rag.text.loaders.base import Section


def load(path: Path) -> Iterator[Section]:
    """Yield each page that has text, in order, titled by the document's metadata."""
    pypdf = require("pypdf", "text")
    _quiet()
    with path.open("rb") as file:
        # pypdf meets damaged structures with almost any exception type, so all are caught here.
        try:
            reader = pypdf.PdfReader(file, strict=False)
            if reader.is_encrypted and not reader.decrypt(""):
                raise InvalidInputError(
                    f"{path}: the PDF is encrypted with a password. "
                    "Save a copy without one, or leave it out with exclude=."
                )
            title = _title(reader) or path.name
            n_pages = len(reader.pages)
        except InvalidInputError:
            raise
        except Exception as error:
            raise _damaged(path, "its structure", error) from error
        for page in range(n_pages):
            try:
                text = _whole(reader.pages[page].extract_text())
            except Exception as error:
                raise _damaged(path, f"page {page + 1}", error) from error
            if text.strip():
                yield Section(text, title, page=page + 1)


def _quiet() -> None:
    """Keep pypdf's warnings, which name no file, off standard error unless logging is set up."""
    logger = logging.getLogger("pypdf")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _title(reader: Any) -> str | None:
    title = reader.metadata.title if reader.metadata else None
    return _whole(str(title)).strip() if title else None


def _whole(text: str) -> str:
    # Some fonts map glyphs to UTF-16 halves: pairs are joined, lone halves become U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _damaged(path: Path, what: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        f"{path}: the PDF is damaged or of an unknown kind; {what} cannot be read "
        f"({type(error).__name__}: {error}). Save it again from its source."
    )
