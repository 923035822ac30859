"""``m2m search``: passages with scores and sources, as text or JSON."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import typer
from rich.padding import Padding
from rich.text import Text

from m2m_rag import Hit
from m2m_rag._dates import untagged
from m2m_rag.cli.existing import opened
from m2m_rag.cli.ingest import choose_embedder
from m2m_rag.cli.output import console, printable
from m2m_rag.errors import InvalidFilterError


def run(
    query: str,
    k: int,
    where: str | None,
    db: Path,
    collection_name: str,
    embedder_name: str | None,
    as_json: bool,
) -> None:
    """Search and print the hits."""
    condition = _parse(where)
    with opened(db) as database:
        collection = database.open(collection_name)
        hits: list[Hit] = []
        if collection.count():
            embedder = choose_embedder(collection, embedder_name)
            if collection.embedder is not None:
                collection.bind_embedder(embedder.fingerprint)
            hits = collection.search(embedder.embed_query(query), k, where=condition)
    if as_json:
        rows = [_as_dict(hit) for hit in hits]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2, default=date.isoformat))
        return
    for number, hit in enumerate(hits, 1):
        print_hit(number, hit.score, hit.text or "", hit.metadata)
    if not hits:
        console.print("nothing found")


def print_hit(number: int, score: float, text: str, metadata: dict[str, Any]) -> None:
    """Print one passage: number, score, where it comes from, and its text."""
    head = Text.assemble((f"{number}. ", "bold"), f"{score:.4f}  ", (origin(metadata), "cyan"))
    console.print(head, soft_wrap=True)
    console.print(Padding(Text(shortened(text)), (0, 0, 1, 3)))


def origin(metadata: dict[str, Any]) -> str:
    """Return a passage's source for people: file, page or line, title."""
    place = str(metadata.get("source", "-"))
    for key in ("page", "line"):
        if metadata.get(key) is not None:
            place += f", {key} {metadata[key]}"
    title = metadata.get("title")
    return printable(f"{place} ({title})" if title and title != metadata.get("source") else place)


def shortened(text: str, limit: int = 300) -> str:
    """Return the text on one line, cut at a word when it is longer than `limit`."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[:limit].rsplit(" ", 1)[0] + " …"


def _parse(where: str | None) -> dict[str, Any] | None:
    if where is None:
        return None
    try:
        parsed = json.loads(where, object_hook=untagged)
    except ValueError as error:
        raise InvalidFilterError(
            f'--where is not JSON ({error}). Example: --where \'{{"source": "a.md"}}\''
        ) from None
    if not isinstance(parsed, dict):
        raise InvalidFilterError(f"--where is a JSON object, got {type(parsed).__name__}.")
    return parsed


def _as_dict(hit: Hit) -> dict[str, Any]:
    return {"id": hit.id, "score": hit.score, "text": hit.text, "metadata": hit.metadata}
