"""The command line ``m2m``: ingest, search, info, collections, upkeep, demo, doctor, bench."""

from __future__ import annotations

import sys

from m2m_rag._optional import require
from m2m_rag.errors import MissingExtraError


def main() -> None:
    """Run the command line; it needs the extra ``cli``."""
    try:
        for package in ("typer", "rich"):
            require(package, "cli")
    except MissingExtraError as error:
        sys.stderr.write(f"m2m: {error}\n")
        raise SystemExit(6) from None
    from m2m_rag.cli.app import app

    app()
