"""What the command line prints: one console, one paragraph for an error, documented exit codes.

=====  ==========================================================
code   meaning
=====  ==========================================================
0      done
1      something failed that is none of the following
2      an argument or option cannot be used
3      a collection or record does not exist
4      another process is writing to the database
5      the files are damaged, or not a database
6      an optional package is not installed
7      some sources could not be ingested; the others were
130    interrupted (Ctrl-C); what was committed stays
=====  ==========================================================
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

from m2m_rag.errors import (
    CorruptError,
    FormatError,
    InvalidInputError,
    M2MError,
    MissingExtraError,
    NotFoundError,
    WriterLockedError,
)

EXIT_CODES: tuple[tuple[type[M2MError], int], ...] = (
    (InvalidInputError, 2),
    (NotFoundError, 3),
    (WriterLockedError, 4),
    (CorruptError, 5),
    (FormatError, 5),
    (MissingExtraError, 6),
    (M2MError, 1),
)
SOME_FAILED = 7
EXIT_CODES_HELP = (
    "Exit codes: 0 done, 1 other failure, 2 bad argument, 3 not found, 4 another process writes, "
    "5 damaged or no database, 6 missing package, 7 some sources failed, 130 interrupted."
)

# A passage may hold escape sequences that would drive the reader's terminal; a file's name, bytes
# that are no UTF-8, which Python reads as surrogates and no terminal can be sent.
_CONTROLS = dict.fromkeys(
    (*range(32), *range(127, 160), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}"
)
del _CONTROLS[ord("\t")], _CONTROLS[ord("\n")]

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

P = ParamSpec("P")
R = TypeVar("R")


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Print an `M2MError` or `OSError` as one paragraph and leave with its exit code."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except M2MError as error:
            _print_error(str(error))
            raise typer.Exit(exit_code(error)) from None
        except BrokenPipeError:
            # The reader has seen enough (``| head``); typer leaves quietly.
            raise
        except OSError as error:
            _print_error(str(error))
            raise typer.Exit(1) from None

    return wrapper


def _print_error(text: str) -> None:
    errors.print("error:", style="bold red", end=" ")
    errors.print(printable(text), markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """Return `text` with ``U+FFFD`` for surrogates, and controls but tab and line feed."""
    return text.translate(_CONTROLS)


def exit_code(error: M2MError) -> int:
    """Return the exit code of an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def human_bytes(n_bytes: float) -> str:
    """Return a size for people, such as ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if n_bytes < 1024:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1024
    return f"{n_bytes:.1f} GiB"
