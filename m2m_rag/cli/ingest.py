"""``m2m ingest``: documents into a collection, with a progress bar."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from m2m_rag import Collection, Database
from m2m_rag.cli.output import SOME_FAILED, console, errors, printable
from m2m_rag.text import Embedder, IngestReport, as_embedder, ingest
from m2m_rag.text import Progress as Event
from m2m_rag.text.embedders.recorded import recorded_embedder
from m2m_rag.text.ingesting import check_path

NEW_COLLECTION_EMBEDDER = "minilm"


def run(
    path: Path,
    db: Path,
    collection_name: str,
    embedder_name: str | None,
    include: list[str],
    exclude: list[str],
    delete_missing: bool,
    as_json: bool,
) -> None:
    """Ingest and print the report; leave with 7 when some sources failed."""
    # Before anything is created: a mistyped argument leaves no empty database behind.
    check_path(path)
    if embedder_name is not None:
        as_embedder(embedder_name)
    with Database(db) as database:
        collection = database.create(collection_name, exist_ok=True)
        with progress_bar() as on_progress:
            report = ingest(
                path,
                collection,
                choose_embedder(collection, embedder_name),
                include=include,
                exclude=exclude,
                delete_missing=delete_missing,
                on_progress=on_progress,
            )
        n_records = collection.count()
    if as_json:
        typer.echo(json.dumps(_as_dict(report), ensure_ascii=False, indent=2))
    else:
        console.print(printable(str(report)), markup=False, soft_wrap=True)
        console.print(
            f"collection {collection_name!r} in {db} holds {n_records} passages",
            markup=False,
            soft_wrap=True,
        )
    if report.failed:
        raise typer.Exit(SOME_FAILED)


def choose_embedder(collection: Collection, name: str | None) -> Embedder:
    """Return the embedder asked for, else the one that fills the collection, else the default."""
    if name is not None:
        return as_embedder(name)
    if collection.embedder is not None:
        return recorded_embedder(collection.embedder)
    return as_embedder(NEW_COLLECTION_EMBEDDER)


@contextmanager
def progress_bar() -> Iterator[Callable[[Event], None]]:
    """Show a bar on standard error if that is a terminal, and give the callback that moves it."""
    bar = Progress(
        TextColumn("{task.fields[n_embedded]} texts embedded"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[source]}", markup=False),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    with bar:
        task = bar.add_task("", total=None, n_embedded=0, source="")

        def show(event: Event) -> None:
            bar.update(
                task,
                completed=event.n_done,
                total=event.n_sources,
                n_embedded=event.n_embedded,
                source=event.source,
            )

        yield show


def _as_dict(report: IngestReport) -> dict[str, Any]:
    return {**report._asdict(), "failed": [one._asdict() for one in report.failed]}
