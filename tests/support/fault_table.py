"""The table of the fault programme: what was tried, how often, and what came of it.

A test notes what it tried through the fixture `fault_table`, or bears the mark ``fault(id, what)``,
and then each case of it counts. What is noted travels with the test's report, so also from a worker
of pytest-xdist, and counts when the test has passed. With ``M2M_FAULTS`` set, the rows replace
those of the same faults in ``benchmarks/faults.json``; ``benchmarks/faults.md`` shows them all, and
README a line for each part of the programme.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "benchmarks" / "faults.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- faults: written by `make faults` -->\n", "<!-- end of faults -->\n"
"""What stands in README around its table."""
PARTS = {
    "F1": "kill -9 of a writer, an ingest, a compaction, a backup, a restore",
    "F2": "kill -9 while opening after a kill",
    "F3": "power loss: states replayed from a log of all writes and syncs, also of backups, "
    "restores, migrations and indexes",
    "F4": "the k-th write, sync, truncation, rename, or other change of names fails, is half "
    "done, or kills; interrupts",
    "F5": "the disk is full",
    "F6": "no permission to write; a file of the truth is missing",
    "F7": "a bit flipped; a part of a file cut off, zeroed, exchanged or older",
    "F8": "processes: a writer killed beside readers, two writers, races of opening",
    "F9": "forks under load; every way to start a process; worker pools",
    "F10": "16 threads, and tasks of asyncio, against a serial run; writes in the middle of writes",
    "F11": "too little memory",
    "F12": "bad input",
    "F13": "random calls, compactions and kills against a dictionary and brute force",
    "F14": "databases of each format that ever was",
    "F15": "load with kills",
    "F16": "100 records erased, their bytes sought in every file",
    "S5": "folders and indexes that an attacker made, everything tried on each",
}
_NOTED = "fault"


class FaultTable:
    """Takes the rows of one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def add(self, id_: str, fault: str, n: int, seed: int | None, **outcome: object) -> None:
        """Note that `fault` was tried n times, and the outcome in numbers."""
        row = {"id": id_, "fault": fault, "n": n, "seed": seed, "outcome": outcome}
        print(json.dumps(row))
        self._properties.append((_NOTED, row))


@pytest.fixture
def fault_table(request):
    """Where a test notes what it tried."""
    return FaultTable(request.node.user_properties)


def note_marks(items: Iterable[pytest.Item]) -> None:
    """Let each test with the mark ``fault(id, what)`` note itself as one case."""
    for item in items:
        for mark in item.iter_markers("fault"):
            id_, fault = mark.args
            row = {"id": id_, "fault": fault, "n": 1, "seed": None, "outcome": {"failed": 0}}
            item.user_properties.append((_NOTED, row))


class Collector:
    """Gathers what the tests that passed have noted, shows it, and writes it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, row in report.user_properties:
                if name == _NOTED:
                    file = report.nodeid.partition("::")[0]
                    self._take({**row, "file": file} if "file" not in row else row)

    def _take(self, row: dict) -> None:
        held = self.rows.get(_key(row))
        self.rows[_key(row)] = _sum([held, row]) if held else row

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if not self.rows:
            return
        terminalreporter.section("fault programme")
        terminalreporter.write(details(self.rows.values()))
        if "M2M_FAULTS" in os.environ:
            write(self.rows)
            terminalreporter.write_line(f"written to {TABLE}, its twin .md, and README.md")


def details(rows: Iterable[dict]) -> str:
    """Return every row as Markdown."""
    lines = ["| | fault | tried | seed | outcome |", "|---|---|---:|---:|---|"]
    for row in sorted(rows, key=_order):
        lines.append(
            f"| {row['id']} | {row['fault']} | {row['n']:,} | {_seed(row)} | {_outcome(row)} |"
        )
    return "\n".join(lines) + "\n"


def summary(rows: Iterable[dict]) -> str:
    """Return a line for each part of the programme as Markdown, as README has it."""
    parts: dict[str, list[dict]] = {}
    for row in sorted(rows, key=_order):
        parts.setdefault(row["id"], []).append(row)
    lines = ["| | fault | tried | seed | outcome | `pytest` |", "|---|---|---:|---:|---|---|"]
    for id_, part in parts.items():
        whole = _sum(part)
        files = ", ".join(f"`{name}`" for name in sorted({row["file"] for row in part}))
        seeds = sorted({row["seed"] for row in part} - {None})
        lines.append(
            f"| {id_} | {PARTS[id_]} | {whole['n']:,} | {', '.join(map(str, seeds))} | "
            f"{_outcome(whole)} | {files} |"
        )
    return "\n".join(lines) + "\n"


def write(rows: dict[tuple[str, str], dict]) -> None:
    """Replace in the files on disk the rows that were run now."""
    held = json.loads(TABLE.read_text())["rows"] if TABLE.exists() else []
    by_key = {_key(row): row for row in held} | rows
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    document = {
        "command": "make faults",
        "machine": machine,
        "rows": sorted(by_key.values(), key=_order),
    }
    TABLE.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    TABLE.with_suffix(".md").write_text(details(by_key.values()))
    README.write_text(with_table(README.read_text(), by_key.values()))


def with_table(readme: str, rows: Iterable[dict]) -> str:
    """Return README's text with the table of these rows."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{summary(rows)}{END}{after}"


def _sum(rows: list[dict]) -> dict:
    """Return one row for several: numbers are added."""
    outcome: dict[str, object] = {}
    for row in rows:
        for name, value in row["outcome"].items():
            outcome[name] = outcome[name] + value if name in outcome else value
    return {**rows[0], "n": sum(row["n"] for row in rows), "outcome": outcome}


def _key(row: dict) -> tuple[str, str]:
    return row["id"], row["fault"]


def _order(row: dict) -> tuple[str, int, str]:
    return row["id"][0], int(row["id"][1:]), row["fault"]


def _seed(row: dict) -> object:
    return "" if row["seed"] is None else row["seed"]


def _outcome(row: dict) -> str:
    return ", ".join(
        f"{value:,} {name.replace('_', ' ')}" for name, value in row["outcome"].items()
    )
