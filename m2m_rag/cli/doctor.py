"""``m2m doctor``: versions, devices and extras, and one tiny operation on each backend."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import tempfile
import time
from typing import Any

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

import m2m_rag
from m2m_rag import Database
from m2m_rag.cli.output import console
from m2m_rag.compute import BACKENDS, get_backend

CORE = ("numpy", "numba", "apsw", "xxhash", "filelock")
_EXTRA = re.compile(r"""^([A-Za-z0-9._-]+).*;.*extra\s*==\s*['"]([a-z]+)['"]""")


def run(as_json: bool) -> None:
    """Examine and print; leave with 1 when an operation gave a wrong answer."""
    report = {
        "versions": _versions(),
        "devices": _devices(),
        "extras": _extras(),
        "operations": _operations(),
    }
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        for title, entries in report.items():
            table = Table(title=title, show_header=False, title_justify="left", min_width=60)
            for name, value in entries.items():
                table.add_row(Text(name), Text(value))
            console.print(table)
    if not all(value.startswith("right") for value in report["operations"].values()):
        raise typer.Exit(1)


def _versions() -> dict[str, str]:
    import apsw

    own = {"m2m_rag": m2m_rag.__version__, "python": platform.python_version()}
    core = {name: importlib.metadata.version(name) for name in CORE}
    return own | core | {"sqlite": apsw.sqlite_lib_version(), "system": platform.platform()}


def _devices() -> dict[str, str]:
    import llvmlite.binding

    features = llvmlite.binding.get_host_cpu_features()
    vector = [name for name in ("avx512f", "avx2", "sse4.2", "neon") if features.get(name)]
    cpu = f"{llvmlite.binding.get_host_cpu_name()}, {os.cpu_count()} cores, {', '.join(vector)}"
    return {"cpu": cpu}


def _extras() -> dict[str, str]:
    """Tell for each extra whether its packages are installed."""
    packages: dict[str, list[str]] = {}
    for requirement in importlib.metadata.requires("m2m-rag") or []:
        found = _EXTRA.match(requirement)
        if found and not requirement.startswith("m2m-rag["):
            packages.setdefault(found.group(2), []).append(found.group(1))
    return {extra: _presence(names, extra) for extra, names in sorted(packages.items())}


def _presence(names: list[str], extra: str) -> str:
    missing = [name for name in names if not _is_installed(name)]
    if not missing:
        return "installed"
    return f"missing {', '.join(missing)}: pip install 'm2m-rag[{extra}]'"


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _operations() -> dict[str, str]:
    report = {f"compute {name}": _try(lambda name=name: _search_with(name)) for name in BACKENDS}
    return report | {"storage": _try(_store_and_find)}


def _try(operation: Any) -> str:
    start = time.perf_counter()
    try:
        is_right = operation()
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
    elapsed_ms = 1e3 * (time.perf_counter() - start)
    return f"{'right' if is_right else 'WRONG'} answer in {elapsed_ms:.1f} ms"


def _search_with(backend_name: str) -> bool:
    """Look up each of 100 random vectors among all of them."""
    backend = get_backend(backend_name)
    vectors = np.random.default_rng(0).normal(size=(100, 32)).astype(np.float32)
    rows, _ = backend.top_k(vectors, vectors, backend.squared_norms(vectors), 1, "cosine")
    return [int(row[0]) for row in rows] == list(range(100))


def _store_and_find() -> bool:
    """Commit a record to a temporary folder, open it again and find it."""
    with tempfile.TemporaryDirectory() as folder:
        with Database(folder) as database:
            database.create("c").add([[1.0, 2.0]], ids=["x"], texts=["text"])
        with Database(folder, read_only=True) as database:
            return database.open("c").search([1.0, 2.0])[0].text == "text"
