"""Charts of stores: how long a search takes under each filter, and all other costs beside ours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from m2m_rag.bench.looks import OUR_COLOR, Report, label, look
from m2m_rag.bench.registry import OURS
from m2m_rag.bench.store.registry import STORES
from m2m_rag.bench.store.table import MIB, recall_of

WIDTH = 0.84
"""Of a group of bars; the groups are 1 apart."""


class Cost(NamedTuple):
    """A number of a row that costs, its heading, its unit, and how many of the unit it is."""

    key: str
    title: str
    unit: str = "s"
    scale: float = 1.0


COSTS = (
    Cost("add_s", "add all"),
    Cost("ready_s", "add and\nindex"),
    Cost("ready_cpu_s", "add and\nindex, CPU"),
    Cost("single_add_s", "add one", "ms", 1e3),
    Cost("delete_s", "delete by\nfilter"),
    Cost("start_s", "import, open,\nfirst search"),
    Cost("rss_bytes", "memory when\nsearched", "MiB", 1 / MIB),
    Cost("disk_bytes", "disk", "MiB", 1 / MIB),
)


def latency(axes: Any, report: Report) -> None:
    """Draw the median latency by filter, its recall on the bar."""
    rows = report["rows"]
    for row, offset, width in _offsets(rows):
        cases = row["cases"]
        bars = axes.bar(
            np.arange(len(cases)) + offset,
            [case["p50_us"] / 1e3 for case in cases],
            width,
            color=_color(row),
            label=f"{row['method']} (recall ≥ {recall_of(row)[:5]})",
        )
        recalls = [f"{case['recall']:.2f}" for case in cases]
        axes.bar_label(bars, labels=recalls, padding=2, fontsize=6, rotation=90)
    cases = [f"{_folded(case['name'])}\n{case['n_matching']:,}" for case in report["cases"]]
    axes.set_xticks(np.arange(len(cases)), cases, fontsize=7)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_ylabel("ms a search, median (log)")
    axes.set_xlabel("filter and records that match; on the bars: recall")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    label(axes, report, f"Search with text and metadata, k = {report['k']}")


def costs(axes: Any, report: Report) -> None:
    """Draw every other cost as a multiple of ours; below 1 the peer is better."""
    rows = report["rows"]
    ours = next(row for row in rows if row["method"] == OURS)
    shown = [cost for cost in COSTS if ours[cost.key] is not None]
    for row, offset, width in _offsets(rows):
        ratios = [row[cost.key] / ours[cost.key] for cost in shown]
        bars = axes.bar(
            np.arange(len(shown)) + offset,
            np.array(ratios) - 1,
            width,
            bottom=1,
            color=_color(row),
            label=row["method"],
        )
        values = [f"{cost.scale * row[cost.key]:.3g} {cost.unit}" for cost in shown]
        axes.bar_label(bars, labels=values, padding=2, fontsize=6, rotation=90)
    axes.axhline(1, color=OUR_COLOR, linewidth=1)
    axes.set_xticks(np.arange(len(shown)), [cost.title for cost in shown], fontsize=8)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.set_ylabel("times ours (log); higher costs more")
    axes.legend(frameon=False, fontsize=8, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    label(axes, report, "What a store costs beside searching")


def _offsets(rows: list[dict[str, Any]]) -> list[tuple[dict[str, Any], float, float]]:
    """Return each row with its bar's place in a group, and the bar's width."""
    width = WIDTH / len(rows)
    return [(row, width * (i - (len(rows) - 1) / 2), width) for i, row in enumerate(rows)]


def _folded(name: str) -> str:
    return name.replace(" and ", "\n").replace(" = ", " =\n").replace("/", "/\n")


def _color(row: dict[str, Any]) -> str:
    return look(row["method"], list(STORES))[0]
