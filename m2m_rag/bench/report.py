"""Reports: what a JSON file holds around its rows, reading and writing it, and it as text."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import m2m_rag
from m2m_rag.bench.store.table import as_text as store_as_text
from m2m_rag.errors import FormatError, InvalidInputError

FORMAT = 1
KINDS = ("ann", "scaling", "store")
LIBRARIES = ("numpy", "numba", "llvmlite", "apsw")
CLOCK_NAMES = {
    "qps_cpu": "a CPU-second",
    "qps_wall": "a second",
    "batch_qps_cpu": "a CPU-second in one batch",
    "batch_qps_wall": "a second in one batch",
}


def head(kind: str, distributions: Iterable[str | None], n_threads: int) -> dict[str, Any]:
    """Return what every report begins with: format, date, machine, the libraries' versions."""
    names = {*LIBRARIES, *(name for name in distributions if name)}
    versions = {name: importlib.metadata.version(name) for name in sorted(names - {"m2m-rag"})}
    return {
        "format": FORMAT,
        "kind": kind,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "n_cores": os.cpu_count(),
        "system": platform.platform(),
        "threads": n_threads,
        "versions": {
            "m2m-rag": m2m_rag.__version__, "python": platform.python_version(), **versions,
        },
    }  # fmt: skip


def check_writable(path: Path) -> None:
    """Raise `InvalidInputError` now rather than after an hour of measuring."""
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise InvalidInputError(
            f"cannot write {path}: it is a folder, or its folder does not exist"
        )


def write(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> dict[str, Any]:
    """Read a report.

    Raises
    ------
    FormatError
        The file is no report, or of a newer format.
    """
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path} is not JSON: {error}") from None
    known = isinstance(report, dict) and report.get("format") == FORMAT
    if not known or report.get("kind") not in KINDS:
        raise FormatError(
            f"{path} is not a report of format {FORMAT}; `m2m bench ann`, `m2m bench scaling` and "
            "`m2m bench store` write them"
        )
    return dict(report)


def as_text(report: dict[str, Any]) -> str:
    """Return a report for people: where it was measured, its rows and its summary."""
    data = report["data"]
    shape = f"{data['n']:,} × {data['d']}" if "n" in data else f"d = {data['d']}"
    lines = [
        f"{data['name']} ({shape}, {data['metric']}), k = {report['k']}, "
        f"threads {report['threads']}, best of {report['n_rounds']} rounds",
        f"{report['cpu']}, {report['date']}",
        "",
    ]
    if report["kind"] == "store":
        return "\n".join([*lines, *store_as_text(report)])
    if report["kind"] == "scaling":
        return "\n".join(lines + _table(SCALING_COLUMNS, report["rows"]))
    if report["missing"]:
        lines += [f"not installed: {', '.join(report['missing'])}", ""]
    columns = [column for column in ANN_COLUMNS if report["rows"][0][column[0]] is not None]
    lines += [*_table(columns, report["rows"]), "", *map(_sentence, report["summary"])]
    return "\n".join(lines)


ANN_COLUMNS = [
    ("method", "method", "<18"),
    ("setting", "setting", "<48"),
    ("recall", "recall", ">7.4f"),
    ("qps_cpu", "QPS (CPU)", ">10,.0f"),
    ("qps_wall", "QPS", ">9,.0f"),
    ("batch_qps_cpu", "batch QPS", ">10,.0f"),
    ("p50_us", "p50 µs", ">8,.0f"),
    ("p95_us", "p95 µs", ">8,.0f"),
    ("p99_us", "p99 µs", ">8,.0f"),
    ("build_cpu_s", "build CPU s", ">12,.1f"),
    ("ram_bytes_per_row", "B/row", ">7,.0f"),
]
"""Key, heading and format of the columns; B/row is without the vectors."""
SCALING_COLUMNS = [
    ("n", "n", ">11,"),
    ("build_cpu_s", "build CPU s", ">12,.1f"),
    ("ram_bytes_per_row", "B/row", ">8,.0f"),
    ("recall", "recall", ">8.4f"),
    ("qps_cpu", "QPS (CPU)", ">10,.0f"),
    ("qps_cpu_at_recall", "QPS at 0.95", ">12,.0f"),
    ("linear_qps_cpu", "linear QPS", ">11,.0f"),
]


def _table(columns: list[tuple[str, str, str]], rows: list[dict[str, Any]]) -> list[str]:
    width = [int("".join(c for c in form[1:].split(".")[0] if c.isdigit())) for *_, form in columns]
    lines = ["".join(
        f"{title:{form[0]}{size}}" for (_, title, form), size in zip(columns, width, strict=True)
    )]  # fmt: skip
    for row in rows:
        cells = []
        for (key, _, form), size in zip(columns, width, strict=True):
            value = _setting(row[key]) if key == "setting" else row[key]
            cells.append(f"{'-':{form[0]}{size}}" if value is None else f"{value:{form}}")
        lines.append("".join(cells))
    return lines


def _setting(setting: dict[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in setting.items())


def _sentence(entry: dict[str, Any]) -> str:
    start = f"recall {entry['recall']:g}, queries {CLOCK_NAMES[entry['clock']]}: m2m "
    own, best = _speed(entry, "m2m"), entry["best_peer"]
    if best is None:
        return f"{start}{own}; no peer reached it"
    kind = {"interpolated": "", None: ""}.get(entry["ratio_kind"], f"{entry['ratio_kind']} ")
    ratio = "" if entry["ratio"] is None else f", ratio {kind}{entry['ratio']:.2f}"
    return f"{start}{own}; best peer {best} {_speed(entry, best)}{ratio}"


def _speed(entry: dict[str, Any], name: str) -> str:
    speed = entry["methods"][name]
    if speed["qps"] is None:
        return "did not reach it"
    return f"{'at least ' if speed['kind'] == 'at least' else ''}{speed['qps']:,.0f}"


def _cpu() -> str:
    """Return the processor's name, and LLVM's, which tells the generation where that hides it."""
    import llvmlite.binding

    name = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next(
            (ln.partition(":")[2].strip() for ln in lines if ln.startswith("model name")), ""
        )
    name = name or platform.processor() or platform.machine()
    return f"{name} ({llvmlite.binding.get_host_cpu_name()})"
