"""What all charts have in common: a method's colour and marker, and where it was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from m2m_rag.bench.registry import OURS

OUR_COLOR = "#d62728"
COLORS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#17becf", "#bcbd22", "#e377c2",
    "#7f7f7f", "#393b79",
)  # fmt: skip
MARKERS = "osD^v<>PX*"

Report: TypeAlias = dict[str, Any]


def look(name: str, names: Sequence[str]) -> tuple[str, str]:
    """Return the colour and marker of a method, the same in every chart of `names`."""
    if name == OURS:
        return OUR_COLOR, "o"
    number = names.index(name) if name in names else len(COLORS)
    return COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]


def label(axes: Any, report: Report, title: str) -> None:
    """Write the title with data, threads and processor, and draw a light grid."""
    data, threads = report["data"], report["threads"]
    shape = f"n = {data['n']:,}, d = {data['d']}" if "n" in data else f"d = {data['d']}"
    where = f"{threads} thread{'s' * (threads > 1)}, {report['cpu']}"
    axes.set_title(f"{title}\n{data['name']}, {shape}, {where}", fontsize=10)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
