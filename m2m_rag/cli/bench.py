"""``m2m bench``: measure recall and speed beside other libraries, over sizes, and draw it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from m2m_rag.cli.output import console, errors, reported
from m2m_rag.errors import InvalidInputError

bench_app = typer.Typer(
    help="Measure recall and speed, beside other libraries and over sizes, on your machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

OutOption = Annotated[Path, typer.Option("--out", help="The JSON file to write.")]
ThreadsOption = Annotated[
    int,
    typer.Option(
        help="Threads of every library. Libraries read it when they are imported, so it must be "
        "said here: the run gets a process of its own that begins with it.",
    ),
]
RoundsOption = Annotated[
    int, typer.Option(help="How often each setting is measured, in turns; the best counts.")
]
KOption = Annotated[int, typer.Option("-k", "--k", help="How many rows an answer has.")]
QueriesOption = Annotated[int, typer.Option("--n-queries", help="At most so many queries.")]
SeedOption = Annotated[int, typer.Option(help="The seed of synthetic data.")]
PEERS = "faiss-hnsw,faiss-ivfpqfs,hnswlib,usearch,scann,svs,linear"
STORE_PEERS = "m2m-lean,chroma,lancedb,lancedb-flat,qdrant"


@bench_app.command("ann")
@reported
def ann_command(
    out: OutOption,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder with base_f16.npy, query_f16.npy and gt100.npy (unit length, inner "
            "product) or base.npy, query.npy and gt.npy (Euclidean distance)."
        ),
    ] = None,
    n_splats: Annotated[
        int | None, typer.Option(help="Make so many clustered rows instead of --data.")
    ] = None,
    dimension: Annotated[int, typer.Option(help="The length of those rows.")] = 384,
    peers: Annotated[
        str,
        typer.Option(
            help="Whom to measure beside us, with commas. There are also usearch-f16, usearch-i8 "
            "and faiss-ivfrabitqfs."
        ),
    ] = PEERS,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out peers that are not installed.")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Also time one call with all queries.")
    ] = False,
    threads: ThreadsOption = 1,
    rounds: RoundsOption = 5,
    k: KOption = 10,
    n_queries: QueriesOption = 1000,
    seed: SeedOption = 0,
    copies: Annotated[
        int, typer.Option(help="Repeat the rows of --data, each copy but the first with noise.")
    ] = 1,
) -> None:
    """Measure recall against speed, build time and memory: ours and the peers', in one process."""
    from m2m_rag.bench.run import AnnOptions, run_ann

    options = AnnOptions(
        k, n_queries, rounds, threads, seed, data, n_splats, dimension, _names(peers), batch,
        skip_missing, copies,
    )  # fmt: skip
    _run(out, threads, run_ann, options)


@bench_app.command("scaling")
@reported
def scaling_command(
    out: OutOption,
    sizes: Annotated[str, typer.Option(help="Numbers of rows, with commas.")] = "10000,100000",
    dimension: Annotated[int, typer.Option(help="The length of the rows.")] = 384,
    threads: ThreadsOption = 1,
    rounds: RoundsOption = 5,
    k: KOption = 10,
    n_queries: QueriesOption = 1000,
    seed: SeedOption = 0,
) -> None:
    """Measure our build time, memory and speed over sizes, on synthetic data."""
    from m2m_rag.bench.run import Options, run_scaling

    options = Options(k, n_queries, rounds, threads, seed)
    _run(out, threads, run_scaling, _numbers(sizes), dimension, options)


@bench_app.command("store")
@reported
def store_command(
    out: OutOption,
    data: Annotated[
        Path,
        typer.Option(help="A folder with base_f16.npy, query_f16.npy and corpus.jsonl.gz."),
    ],
    peers: Annotated[
        str, typer.Option(help="Whom to measure beside us, with commas.")
    ] = STORE_PEERS,
    rows: Annotated[
        int | None, typer.Option("--rows", help="Only so many records of --data.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(help="How often each store is filled, asked and changed, in turns.")
    ] = 3,
    n_queries: Annotated[
        int, typer.Option("--n-queries", help="At most so many queries; a slow store answers less.")
    ] = 200,
    adds: Annotated[
        int, typer.Option("--adds", help="Records added one a call; 0 leaves that out.")
    ] = 200,
    keys: Annotated[
        str, typer.Option(help="Metadata keys to choose filters from, with commas; by default all.")
    ] = "",
    batch: Annotated[int, typer.Option("--batch", help="Records a call.")] = 1000,
    threads: ThreadsOption = 1,
    k: KOption = 10,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out peers that are not installed.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Where the stores are made, for a while: what is durable costs what that disk "
            "costs. By default beside --out."
        ),
    ] = None,
) -> None:
    """Measure a store beside others: fill, search with filters, reopen, delete, memory, disk."""
    from m2m_rag.bench.report import check_writable
    from m2m_rag.bench.store.run import StoreOptions, run_store

    check_writable(out)
    options = StoreOptions(
        data, _names(peers), rows, n_queries, rounds, adds, _names(keys), k, threads, batch,
        skip_missing, folder or out.resolve().parent,
    )  # fmt: skip
    _finish(out, run_store(options, say))


@bench_app.command("charts")
@reported
def charts_command(
    reports: Annotated[list[Path], typer.Argument(help="JSON files of ann, scaling and store.")],
    out_dir: Annotated[Path, typer.Option("--out-dir", help="The folder for the PNG files.")],
) -> None:
    """Draw what the reports hold."""
    from m2m_rag.bench.charts import draw

    for path in draw(reports, out_dir):
        console.print(str(path), markup=False, soft_wrap=True)


def say(line: str) -> None:
    """Show progress on standard error; the measuring process calls it."""
    errors.print(line, style="dim", markup=False, soft_wrap=True)


def _run(out: Path, threads: int, function: Callable[..., dict[str, Any]], *args: object) -> None:
    from m2m_rag.bench.process import in_fresh_process
    from m2m_rag.bench.report import check_writable

    check_writable(out)
    _finish(out, in_fresh_process(threads, function, *args, say=say))


def _finish(out: Path, found: dict[str, Any]) -> None:
    from m2m_rag.bench.report import as_text, write

    write(out, found)
    console.print(as_text(found), markup=False, soft_wrap=True)
    console.print(f"\nwritten to {out}", markup=False, soft_wrap=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise InvalidInputError(f"expected whole numbers with commas, got {text!r}") from None
