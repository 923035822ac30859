"""``m2m info`` and ``m2m collections``: what a database holds."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

from m2m_rag.cli.existing import opened
from m2m_rag.cli.output import console, human_bytes


def info(db: Path, collection: str | None, as_json: bool) -> None:
    """Print the counters of one collection or all."""
    with opened(db) as database:
        names = database.list() if collection is None else [collection]
        stats = [database.open(name).stats() for name in names]
    n_bytes = sum(_size(item) for item in db.rglob("*"))
    if as_json:
        typer.echo(json.dumps({"path": str(db), "bytes": n_bytes, "collections": stats}, indent=2))
        return
    console.print(f"database {db}: {human_bytes(n_bytes)} on disk", markup=False)
    table = Table("collection", "records", "dimension", "metric", "embedder", "vectors")
    for row in stats:
        cells = (
            row["name"],
            str(row["n_records"]),
            str(row["dimension"] or "-"),
            row["metric"],
            row["embedder"] or "-",
            human_bytes(row["vector_bytes"]),
        )
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    console.print(table)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        # A writer beside this reader may remove files at any moment.
        return 0


def collections(db: Path, as_json: bool) -> None:
    """Print the names, one a line."""
    with opened(db) as database:
        names = database.list()
    typer.echo(json.dumps(names) if as_json else "\n".join(names), nl=bool(names) or as_json)
