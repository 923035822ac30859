"""Small file operations that put things on disk for good: fsync of files and of folders."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from m2m_rag.errors import CorruptError, M2MError, ReadOnlyError, StorageError, SyncError
from m2m_rag.storage.plain import OPEN_FLAGS

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class _UnsyncedError(OSError):
    """A sync failed: what was written may or may not reach the disk."""


@contextmanager
def os_errors(path: Path) -> Iterator[Path]:
    """Turn the operating system's errors into ours, naming the file."""
    try:
        yield path
    except M2MError:
        raise
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing ({error}). Restore a backup.") from error
    except _UnsyncedError as error:
        raise SyncError(
            f"{path}: the system could not put a write on disk ({error}). The write was undone; "
            "close the database, look at the disk, and open the database again."
        ) from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(f"{path}: the disk is full ({error}).") from error
        if error.errno in _REFUSED:
            raise ReadOnlyError(f"{path}: the system refuses access ({error}).") from error
        raise StorageError(f"{path}: reading or writing failed ({error}).") from error


def private_file(path: Path, content: bytes = b"") -> None:
    """Write a file that only its owner may read; a link in its place is not followed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | OPEN_FLAGS
    with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
        stream.write(content)


def private_folder(path: Path) -> None:
    """Make a folder that only its owner may enter, and those above it that are missing.

    (`Path.mkdir` makes the folders above with what the umask allows.)
    """
    missing = [*takewhile(lambda above: not above.exists(), path.parents)]
    for folder in [*reversed(missing), path]:
        folder.mkdir(exist_ok=True, mode=0o700)


def sync_file(path: Path) -> None:
    """Flush a file's content and size to disk."""
    _sync_path(path, os.O_RDWR)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk (Windows does so with the files' own metadata)."""
    if sys.platform != "win32":
        _sync_path(path, os.O_RDONLY)


def sync_data(descriptor: int) -> None:
    """Flush what was written through `descriptor`, with the size that reading it needs."""
    if sys.platform in ("win32", "darwin"):
        _sync(os.fsync, descriptor)
    else:
        _sync(os.fdatasync, descriptor)


def _sync_path(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        _sync(os.fsync, descriptor)
    finally:
        os.close(descriptor)


def _sync(call: Callable[[int], None], descriptor: int) -> None:
    try:
        call(descriptor)
    except OSError as error:
        raise _UnsyncedError(error.errno, error.strerror) from error
