"""The report of stores as text: one row a method, what it costs and then how it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MIB = 1 << 20
Row = dict[str, Any]


def as_text(report: dict[str, Any]) -> list[str]:
    """Return the lines of both tables."""
    n, batch, n_adds = report["data"]["n"], report["batch_rows"], report["n_adds"]
    lines = [f"not installed: {', '.join(report['missing'])}", ""] if report["missing"] else []
    lines += [
        f"added in batches of {batch:,}; {n_adds:,} more one by one; each step in a process of its "
        "own; ± is how much worse the worst round was; RSS holds mapped files, private does not",
        "",
    ]
    costs = _cost_columns(n)
    head = ["method", *(name for name, _ in costs)]
    rows = [[row["method"], *(cell(row) for _, cell in costs)] for row in report["rows"]]
    lines += _table(head, rows)
    lines += ["", "p50 µs of a search (recall against brute force), by filter:"]
    names = [f"F{i}" for i in range(len(report["cases"]))]
    lines += [
        f"  {name} {case['name']}: {case['n_matching']:,} records"
        for name, case in zip(names, report["cases"], strict=True)
    ]
    lines += ["", *_answers(report, names, _searched)]
    lines += ["", "CPU µs of a search, all threads (recall):", ""]
    return [*lines, *_answers(report, names, _cpu)]


def recall_of(row: Row) -> str:
    """Return the least recall of a method's cases."""
    return f"{min(case['recall'] for case in row['cases']):.4f}"


def filters_right(row: Row) -> str:
    """Tell whether all answers kept to their filters, or how many did; and the delete."""
    n_right = sum(case["n_right"] for case in row["cases"])
    n_answers = sum(case["n_answers"] for case in row["cases"])
    said = "yes" if n_right == n_answers else f"{n_right:,} of {n_answers:,}"
    return said if row["is_delete_right"] else f"{said}, delete wrong"


def _answers(report: dict[str, Any], names: Sequence[str], cell: Callable[[Row], str]) -> list[str]:
    head = ["method", *names, "least recall", "filters right"]
    rows = [
        [row["method"], *map(cell, row["cases"]), recall_of(row), filters_right(row)]
        for row in report["rows"]
    ]
    return _table(head, rows)


def _cost_columns(n: int) -> list[tuple[str, Callable[[Row], str]]]:
    return [
        ("rows/s", lambda row: _rate(row, n)),
        ("CPU s", lambda row: _spread(row, "add_cpu_s")),
        ("indexed s", lambda row: _spread(row, "ready_s")),
        ("CPU s", lambda row: _spread(row, "ready_cpu_s")),
        ("adds/s", lambda row: _per_second(row["single_add_s"])),
        ("delete s", lambda row: _spread(row, "delete_s")),
        ("import s", lambda row: _spread(row, "import_s")),
        ("reopen s", lambda row: _spread(row, "reopen_s")),
        ("RSS MiB", lambda row: _mib(row["rss_bytes"])),
        ("private MiB", lambda row: _mib(row["anonymous_bytes"])),
        ("fill +MiB", lambda row: _mib(row["fill_grown_bytes"])),
        ("disk MiB", lambda row: _mib(row["disk_bytes"])),
        ("least recall", recall_of),
        ("filters right", filters_right),
    ]


def _searched(case: Row) -> str:
    worse = case["worst"]["p50_us"] / case["p50_us"] - 1
    return f"{case['p50_us']:,.0f} ±{worse:.0%} ({case['recall']:.3f})"


def _cpu(case: Row) -> str:
    return f"{case['cpu_us']:,.0f} ({case['recall']:.3f})"


def _rate(row: Row, n: int) -> str:
    worse = 1 - row["add_s"] / row["worst"]["add_s"]
    return f"{n / row['add_s']:,.0f} ±{worse:.0%}"


def _spread(row: Row, name: str) -> str:
    worse = row["worst"][name] / row[name] - 1
    return f"{row[name]:.2f} ±{worse:.0%}"


def _per_second(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1 / seconds:,.0f}"


def _mib(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / MIB:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns are as wide as they need, the first to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join(
            f"{cell:{'<' if place == 0 else '>'}{width}}"
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *rows]
    ]
