"""Charts of reports, drawn by matplotlib from the JSON alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2m_rag._optional import require
from m2m_rag.bench import report as reports
from m2m_rag.bench.curves import Clock, frontier, points_of
from m2m_rag.bench.looks import OUR_COLOR, Report, label, look
from m2m_rag.bench.registry import METHODS, OURS
from m2m_rag.bench.store.charts import costs, latency
from m2m_rag.errors import InvalidInputError

LATENCY_RECALL = 0.95
SHOWN_RECALL = 0.8
"""Curves of recall begin here, unless ours lies below."""
SIZE = (9.0, 5.6)
DPI = 130

Draw = Callable[[Any, Report], None]


def draw(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Draw every chart of some reports into a folder, named after the reports' files.

    Returns
    -------
    list of Path
        The PNG files.

    Raises
    ------
    FormatError
        A file is no report.
    InvalidInputError
        Two reports have the same file name: their charts would overwrite each other.
    MissingExtraError
        matplotlib is not installed.
    """
    if len({path.stem for path in paths}) < len(paths):
        raise InvalidInputError("two reports have the same file name; rename one")
    read = [(path.stem, reports.read(path)) for path in paths]
    figure_of = require("matplotlib.figure", "bench").Figure
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for stem, report in read:
        for name, chart in _charts(report).items():
            figure = figure_of(figsize=SIZE, dpi=DPI, layout="constrained")
            axes = figure.add_subplot()
            chart(axes, report)
            drawn.append(folder / f"{stem}_{name}.png")
            figure.savefig(drawn[-1])
    return drawn


def _charts(report: Report) -> dict[str, Draw]:
    if report["kind"] == "store":
        return {"latency": latency, "costs": costs}
    if report["kind"] == "scaling":
        return {"qps": _scaling_qps, "build": _scaling_build}
    charts: dict[str, Draw] = {"recall_qps": _recall_qps}
    if any(row["batch_qps_cpu"] is not None for row in report["rows"]):
        charts["recall_qps_batch"] = _recall_qps_batch
    return charts | {"build": _build, "memory": _memory, "latency": _latency}


def _recall_qps(axes: Any, report: Report) -> None:
    _curves(axes, report, "qps_cpu")
    label(axes, report, "Recall against speed, one query a call")


def _recall_qps_batch(axes: Any, report: Report) -> None:
    _curves(axes, report, "batch_qps_cpu")
    label(axes, report, "Recall against speed, all queries in one call")


def _curves(axes: Any, report: Report, clock: Clock) -> None:
    """Draw each method's frontier, and faintly the points behind it."""
    names = _methods(report)
    start = min([SHOWN_RECALL, *(p.recall for p in points_of(report["rows"], OURS, clock))])
    for name in names:
        points = [p for p in points_of(report["rows"], name, clock) if p.recall >= start]
        color, marker = _look(name)
        curve = frontier(points)
        is_ours = name == OURS
        axes.plot(
            [p.recall for p in curve], [p.qps for p in curve], color=color, marker=marker,
            label=name, linewidth=2.6 if is_ours else 1.4, markersize=7 if is_ours else 5,
            zorder=4 if is_ours else 3,
        )  # fmt: skip
        rest = [p for p in points if p not in curve]
        axes.scatter(
            [p.recall for p in rest], [p.qps for p in rest], color=color, s=9, alpha=0.3, zorder=2
        )
    axes.set_yscale("log")
    axes.set_xlim(start - 0.005, 1.003)
    axes.set_xlabel(f"recall@{report['k']}")
    axes.set_ylabel("queries per CPU-second (log)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)


def _build(axes: Any, report: Report) -> None:
    costs = {
        row["method"]: row["build_cpu_s"] for row in report["rows"] if row["method"] != "linear"
    }
    names = sorted(costs, key=lambda name: costs[name])
    bars = axes.barh(names, [costs[name] for name in names], color=[_look(n)[0] for n in names])
    axes.bar_label(bars, labels=[f"{costs[name]:,.1f} s" for name in names], padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("CPU-seconds to build")
    label(axes, report, "Build time")


def _memory(axes: Any, report: Report) -> None:
    sizes = {
        row["method"]: (row["ram_bytes_per_row"], row["ram_total_bytes_per_row"])
        for row in report["rows"]
        if row["ram_bytes_per_row"] is not None
    }
    names = sorted(sizes, key=lambda name: sizes[name][0])
    colors = [_look(name)[0] for name in names]
    own = [sizes[name][0] for name in names]
    bars = axes.barh(names, own, color=colors)
    rest = [sizes[name][1] - sizes[name][0] for name in names]
    axes.barh(names, rest, left=own, color=colors, alpha=0.22)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in own], padding=4)
    axes.invert_yaxis()
    axes.set_xlabel("bytes a row: the index (full colour), its vectors (pale)")
    unknown = [name for name in _methods(report) if name not in sizes]
    label(axes, report, "Memory" + (f" (unknown: {', '.join(unknown)})" if unknown else ""))


def _latency(axes: Any, report: Report) -> None:
    """Draw percentiles at the frontier's point whose recall is nearest to 0.95."""
    chosen = []
    for name in _methods(report):
        rows = [row for row in report["rows"] if row["method"] == name]
        curve = frontier(points_of(rows, name))
        best = min(curve, key=lambda point: abs(point.recall - LATENCY_RECALL))
        chosen.append(next(row for row in rows if (row["recall"], row["qps_cpu"]) == best))
    chosen.sort(key=lambda row: float(row["p50_us"]))
    places = np.arange(len(chosen))
    for number, key in enumerate(("p50_us", "p95_us", "p99_us")):
        values = [row[key] for row in chosen]
        colors = [_look(row["method"])[0] for row in chosen]
        bars = axes.bar(places + 0.27 * (number - 1), values, 0.25, color=colors)
        for bar in bars:
            bar.set_alpha((0.4, 0.7, 1.0)[number])
        labels = [f"{v:.0f}" if v < 1000 else f"{v / 1000:.2g}k" for v in values]
        axes.bar_label(bars, labels=labels, padding=2, fontsize=7)
    names = [f"{row['method']}\nrecall {row['recall']:.3f}" for row in chosen]
    axes.set_xticks(places, names, fontsize=8, rotation=25 if len(chosen) > 6 else 0)
    axes.set_yscale("log")
    axes.set_ylabel("µs a query, wall time (log)")
    axes.set_xlabel("bars, left to right: 50th, 95th, 99th percentile")
    label(axes, report, f"Latency at the setting nearest recall {LATENCY_RECALL}")


def _scaling_qps(axes: Any, report: Report) -> None:
    rows = report["rows"]
    sizes = np.array([row["n"] for row in rows], dtype=float)
    ours = np.array([row["qps_cpu"] for row in rows])
    axes.plot(sizes, ours, color=OUR_COLOR, marker="o", linewidth=2.6, label=OURS)
    for row in rows:
        axes.annotate(
            f"recall {row['recall']:.3f}", (row["n"], row["qps_cpu"]), xytext=(0, 9),
            textcoords="offset points", ha="center", fontsize=8,
        )  # fmt: skip
    guide = ours[0] * np.sqrt(sizes[0] / sizes)
    axes.plot(sizes, guide, color="0.4", linestyle=":", label="if a query cost √n")
    linear = [row["linear_qps_cpu"] for row in rows]
    color, marker = _look("linear")
    axes.plot(sizes, linear, color=color, marker=marker, label="linear (exact)")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.1)
    _size_axis(axes, rows)
    axes.set_ylabel("queries per CPU-second (log)")
    axes.legend(frameon=False)
    label(axes, report, f"Speed over size, recall {report['recall_asked']} asked for")


def _scaling_build(axes: Any, report: Report) -> None:
    rows = report["rows"]
    sizes = [row["n"] for row in rows]
    axes.plot(sizes, [row["build_cpu_s"] for row in rows], color=OUR_COLOR, marker="o")
    for row in rows:
        axes.annotate(
            f"{row['build_cpu_s']:,.1f} s, {row['ram_bytes_per_row']:.0f} bytes a row",
            (row["n"], row["build_cpu_s"]), xytext=(0, -18), textcoords="offset points",
            ha="center", fontsize=8, bbox={"color": "white", "pad": 1},
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.15)
    _size_axis(axes, rows)
    axes.set_ylabel("CPU-seconds to build (log)")
    label(axes, report, "Build time over size")


def _size_axis(axes: Any, rows: list[dict[str, Any]]) -> None:
    axes.set_xticks([row["n"] for row in rows], [f"{row['n']:,}" for row in rows])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("n, rows (log)")


def _methods(report: Report) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in report["rows"]))


def _look(name: str) -> tuple[str, str]:
    return look(name, list(METHODS))
