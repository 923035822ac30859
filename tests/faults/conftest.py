"""The table of the fault programme: what was tried, how often, and what came of it."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fault_sizes import LARGE
from zygote import Zygote

TABLE = Path(__file__).parents[2] / "benchmarks" / "faults"
_rows = pytest.StashKey[list]()


@dataclass
class FaultTable:
    """Takes a row from each test of the programme."""

    rows: list[dict] = field(default_factory=list)

    def add(self, id_: str, fault: str, n: int, seed: int | None, **outcome: object) -> None:
        """Note that `fault` was tried n times, and the outcome in numbers."""
        row = {"id": id_, "fault": fault, "n": n, "seed": seed, "outcome": outcome}
        print(json.dumps(row))
        self.rows.append(row)


@pytest.fixture(scope="session")
def fault_table(request):
    """Where a test notes what it tried."""
    table = FaultTable()
    request.config.stash[_rows] = table.rows
    return table


@pytest.fixture(scope="session")
def zygote():
    """A process that forks children in which faults happen."""
    with Zygote() as zygote:
        yield zygote


def markdown(rows: list[dict]) -> str:
    """Return the table as README shows it."""
    lines = ["| | fault | tried | seed | outcome |", "|---|---|---:|---:|---|"]
    for row in sorted(rows, key=lambda row: (int(row["id"][1:]), row["fault"])):
        outcome = ", ".join(
            f"{value} {key.replace('_', ' ')}" for key, value in row["outcome"].items()
        )
        seed = "" if row["seed"] is None else row["seed"]
        lines.append(f"| {row['id']} | {row['fault']} | {row['n']:,} | {seed} | {outcome} |")
    return "\n".join(lines) + "\n"


def pytest_sessionfinish(session):
    """Hand the rows of a worker of pytest-xdist to the process that started it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = session.config.stash.get(_rows, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take a worker's rows."""
    rows = node.config.stash.setdefault(_rows, [])
    rows += getattr(node, "workeroutput", {}).get("faults", [])


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash.get(_rows, [])
    if not rows:
        return
    terminalreporter.section("fault programme")
    terminalreporter.write(markdown(rows))
    if LARGE:
        _write(rows)
        terminalreporter.write_line(f"written to {TABLE}.json and {TABLE}.md")


def _write(rows: list[dict]) -> None:
    """Replace in the files on disk the rows that were run now."""
    path = TABLE.with_suffix(".json")
    held = json.loads(path.read_text())["rows"] if path.exists() else []
    by_key = {(row["id"], row["fault"]): row for row in [*held, *rows]}
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    document = {"command": "make faults", "machine": machine, "rows": list(by_key.values())}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    TABLE.with_suffix(".md").write_text(markdown(document["rows"]))
