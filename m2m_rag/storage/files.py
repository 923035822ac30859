"""Small file operations that put things on disk for good: fsync of files and of folders."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from m2m_rag.errors import CorruptError, M2MError, ReadOnlyError, StorageError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def os_errors(path: Path) -> Iterator[Path]:
    """Turn the operating system's errors into ours, naming the file."""
    try:
        yield path
    except M2MError:
        raise
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing ({error}). Restore a backup.") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(f"{path}: the disk is full ({error}).") from error
        if error.errno in _REFUSED:
            raise ReadOnlyError(f"{path}: the system refuses access ({error}).") from error
        raise StorageError(f"{path}: reading or writing failed ({error}).") from error


def private_file(path: Path) -> None:
    """Create an empty file that only its owner may read; one that exists is emptied."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))


def sync_file(path: Path) -> None:
    """Flush a file's content and size to disk."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to disk (Windows does so with the files' own metadata)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_data(descriptor: int) -> None:
    """Flush what was written through `descriptor`, with the size that reading it needs."""
    if sys.platform in ("win32", "darwin"):
        os.fsync(descriptor)
    else:
        os.fdatasync(descriptor)
