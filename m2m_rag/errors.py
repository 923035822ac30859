"""Every error that m2m_rag raises, as one tree.

::

    M2MError
     ├─ InvalidInputError (ValueError)        an argument cannot be used
     │   ├─ DimensionError                    a vector has the wrong length
     │   ├─ InvalidFilterError                a `where` filter cannot be read
     │   ├─ DuplicateIdError                  an id is taken, or twice in one batch
     │   └─ LimitError                        a documented limit would be passed
     ├─ NotFoundError (KeyError)
     │   ├─ CollectionNotFoundError
     │   └─ RecordNotFoundError
     ├─ CollectionExistsError (ValueError)
     ├─ ClosedError (RuntimeError)            used after `close()`
     ├─ EmbedderMismatchError (ValueError)    vectors of another embedder
     ├─ MissingExtraError (ImportError)       an optional package is not installed
     ├─ UnknownArgumentError (TypeError)      a keyword argument that does not exist
     └─ StorageError (OSError)
         ├─ CorruptError                      stored bytes are damaged
         ├─ FormatError                       not ours, or of a newer version
         │   └─ OldFormatError                to be brought up to date before it is read
         ├─ SyncError                         the system did not put a write on disk
         ├─ WriterLockedError                 another process writes
         └─ ReadOnlyError                     may only be read

Each is also the fitting built-in, so code that catches ``ValueError`` keeps working. A message
says what is wrong, what was given, what was expected and what to do next. When a call raises,
the stored state is what it was before the call.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class M2MError(Exception):
    """Base of every error that m2m_rag raises."""

    def __str__(self) -> str:
        """Return the message as written (`KeyError` would quote it)."""
        return str(self.args[0]) if self.args else ""


class InvalidInputError(M2MError, ValueError):
    """An argument cannot be used; nothing was changed."""


class DimensionError(InvalidInputError):
    """A vector's length differs from the collection's dimension."""


class InvalidFilterError(InvalidInputError):
    """A ``where`` filter cannot be read."""


class DuplicateIdError(InvalidInputError):
    """`add` was given an id that exists already, or the same id twice."""


class LimitError(InvalidInputError):
    """A documented limit would be passed; nothing was written."""


class NotFoundError(M2MError, KeyError):
    """A named thing does not exist."""


class CollectionNotFoundError(NotFoundError):
    """The database holds no collection of that name (any more)."""


class RecordNotFoundError(NotFoundError):
    """The collection holds no record of that id."""


class CollectionExistsError(M2MError, ValueError):
    """A collection of that name exists already, or with other settings."""


class ClosedError(M2MError, RuntimeError):
    """The object was closed."""


class EmbedderMismatchError(M2MError, ValueError):
    """The collection was filled by another embedder."""


class MissingExtraError(M2MError, ImportError):
    """An optional package is not installed."""


class UnknownArgumentError(M2MError, TypeError):
    """A keyword argument does not exist."""


class StorageError(M2MError, OSError):
    """Reading or writing the database's files failed."""


class CorruptError(StorageError):
    """Stored bytes do not match their checksum, or a needed file is gone."""


class FormatError(StorageError):
    """The files are not an m2m_rag database, or of a newer version."""


class OldFormatError(FormatError):
    """The files are of an older version; opening the database for writing migrates them."""


class SyncError(StorageError):
    """The system could not put a write on disk: no more is written until the database is reopened.

    What was acknowledged before is there; of the write that failed, all or nothing.
    """


class WriterLockedError(StorageError):
    """Another process holds the database's writer lock."""


class ReadOnlyError(StorageError):
    """A write was asked of what may only be read: opened so, refused by the system, or unsynced."""


def shown(value: object) -> str:
    """Return a value as a message shows it: 80 characters at most, whatever its ``repr`` does."""
    try:
        return f"{value!r:.80}"
    except Exception:  # an int of thousands of digits, or an object of a user
        return f"a {type(value).__name__}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def unknown_argument(where: str, name: str, known: Iterable[str]) -> UnknownArgumentError:
    """Return the error for a keyword argument that `where` does not have."""
    names = sorted(known)
    return UnknownArgumentError(
        f"{where} has no argument {name!r}.{did_you_mean(name, names)}"
        f" It takes: {', '.join(names) or 'none'}."
    )
