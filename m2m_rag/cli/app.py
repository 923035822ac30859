"""The commands of ``m2m`` and their options; each command's work has a file of its own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from m2m_rag.cli import demo, doctor, ingest, search, show, upkeep
from m2m_rag.cli.bench import bench_app
from m2m_rag.cli.output import EXIT_CODES_HELP, reported

app = typer.Typer(
    name="m2m",
    help="An embedded vector database for retrieval-augmented generation.",
    epilog=EXIT_CODES_HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(bench_app, name="bench")


@app.callback()
def _main() -> None:
    """Let the package's warnings, such as that kernels are being compiled, reach the terminal."""
    logger = logging.getLogger("m2m_rag")
    if not any(isinstance(handler, RichHandler) for handler in logger.handlers):
        logger.addHandler(
            RichHandler(logging.WARNING, Console(stderr=True), show_time=False, show_path=False)
        )


DbOption = Annotated[
    Path, typer.Option("--db", envvar="M2M_DB", help="The database's folder.", show_default=True)
]
CollectionOption = Annotated[
    str, typer.Option("--collection", "-c", help="The collection's name.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DEFAULT_DB = Path("m2m_db")
DEFAULT_COLLECTION = "documents"


@app.command("ingest")
@reported
def ingest_command(
    path: Annotated[Path, typer.Argument(help="A folder or a file.")],
    db: DbOption = DEFAULT_DB,
    collection: CollectionOption = DEFAULT_COLLECTION,
    embedder: Annotated[
        str | None,
        typer.Option(
            "--embedder",
            "-e",
            help="minilm, hashing (words, not meaning), or st:NAME for a sentence-transformers "
            "model. By default the collection's own; minilm for a new one.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None, typer.Option(help="Only files like this, such as '*.md'.")
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="No files like this.")] = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="Keep passages of files that are gone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Split, embed and store documents; run again, it does only what has changed."""
    ingest.run(
        path, db, collection, embedder, include or [], exclude or [], not keep_missing, as_json
    )


@app.command("search")
@reported
def search_command(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 5,
    where: Annotated[
        str | None,
        typer.Option(help='A filter as JSON, such as \'{"source": "a.md"}\'.'),
    ] = None,
    db: DbOption = DEFAULT_DB,
    collection: CollectionOption = DEFAULT_COLLECTION,
    embedder: Annotated[
        str | None, typer.Option("--embedder", "-e", help="By default the collection's own.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the passages nearest to a question, with scores and sources."""
    search.run(query, k, where, db, collection, embedder, as_json)


@app.command("info")
@reported
def info_command(
    db: DbOption = DEFAULT_DB,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a database holds: records, dimension, embedder, bytes."""
    show.info(db, collection, as_json)


@app.command("collections")
@reported
def collections_command(db: DbOption = DEFAULT_DB, as_json: JsonOption = False) -> None:
    """List the collections' names."""
    show.collections(db, as_json)


@app.command("demo")
@reported
def demo_command(
    db: Annotated[
        Path, typer.Option("--db", help="Where the demo keeps its database.", show_default=True)
    ] = Path("m2m_demo_db"),
) -> None:
    """Answer five questions on Python from its own reference, by LangChain and by LlamaIndex."""
    demo.run(db)


@app.command("doctor")
@reported
def doctor_command(
    path: Annotated[
        Path | None, typer.Argument(help="A database's folder; without it, the installation.")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make indexes again, remove what is left over.")
    ] = False,
    drop_damaged: Annotated[
        bool, typer.Option("--drop-damaged", help="With --repair: delete damaged records.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Examine a database's folder: what is damaged, what is lost, what to do (exit code 0 or 1).

    Without PATH: show versions, devices and extras, and try one operation on each backend.
    """
    if path is None:
        doctor.run(as_json)
    else:
        upkeep.doctor(path, repair, drop_damaged, as_json)


@app.command("backup")
@reported
def backup_command(
    path: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
    db: DbOption = DEFAULT_DB,
) -> None:
    """Write a verified backup, beside readers and writers."""
    upkeep.backup(db, path)


@app.command("restore")
@reported
def restore_command(
    backup: Annotated[Path, typer.Argument(help="The backup's folder.")],
    path: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")],
) -> None:
    """Copy a backup to a new folder, verified; nothing is ever overwritten."""
    upkeep.restore(backup, path)


@app.command("compact")
@reported
def compact_command(
    db: DbOption = DEFAULT_DB,
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Only this one.")
    ] = None,
    erase: Annotated[
        bool, typer.Option("--erase", help="Leave no byte of what was deleted.")
    ] = False,
) -> None:
    """Give back the space of deleted records."""
    upkeep.compact(db, collection, erase)
