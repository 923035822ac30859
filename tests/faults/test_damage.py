"""F7: damage to any byte of any file is detected, repaired, or changes no answer."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from fault_sizes import size
from zygote import Zygote

SEED = 5
N_STEPS = 24
N_FLIPS = size(200, 2000)
N_REBUILDS = size(60, 2000)
"""Flips in the index, after which it is built again."""
N_OTHERS = size(10, 200)
FILES = {
    "closed": [
        "database.sqlite", "catalog.sqlite", "*.f32", "catalog.commit", "catalog.pages",
        "LOCK.holder",
    ],
    "killed": ["catalog.sqlite-wal", "catalog.sqlite", "*.f32", "catalog.commit", "*-shm"],
    "indexed": ["*.hrm2"],
}  # fmt: skip
"""Files of a database that was closed, of one whose writer was killed, with its log, and of one
with an index, which Numba builds: the reference backend takes a minute."""
CASES = [(state, file) for state, files in FILES.items() for file in files]


@pytest.fixture(scope="module")
def compiling():
    with Zygote({"M2M_BACKEND": "numba"}) as compiling:
        yield compiling


@pytest.fixture(scope="module")
def databases(compiling, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    for state in FILES:
        compiling.run(
            "damage:build",
            str(folder / state),
            str(folder / f"{state}-older"),
            SEED,
            N_STEPS,
            state,
        )
    return folder


@pytest.fixture
def work(tmp_path):
    memory = Path("/dev/shm")
    folder = (memory if memory.is_dir() else tmp_path) / f"m2m-{os.getpid()}-{tmp_path.name}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("state", "file"), CASES)
def test_damage_never_changes_an_answer(
    zygote, compiling, databases, work, fault_table, state, file
):
    path, older = databases / state, databases / f"{state}-older"
    victim = max(path.rglob(file), key=lambda found: found.stat().st_size)
    relative = str(victim.relative_to(path))
    for kind in ("flip", "truncate", "zero", "swap", "lost write", "stale"):
        if kind in ("swap", "lost write") and (state, file) == ("killed", "catalog.sqlite"):
            continue  # a page's checksum does not cover its place, `page_places` those at closing
        n = {"flip": N_REBUILDS if state == "indexed" else N_FLIPS, "stale": 1}.get(kind, N_OTHERS)
        child = (compiling if state == "indexed" else zygote).start(
            "damage:damage", str(path), str(older), str(work), relative, kind, SEED, n
        )
        said = child.lines()
        assert child.status == 0, f"{kind} of {relative}: ended with {child.status}: {said[-2:]}"
        outcomes = Counter(line for line in said if not line.startswith("case"))
        assert outcomes.total() == n
        name = {"flip": "one bit flipped"}.get(kind, kind)
        fault_table.add(
            "F7", f"{name}: {file} ({state})", n, SEED, wrong=0, crashed=0,
            **{key.replace(" ", "_"): number for key, number in sorted(outcomes.items())},
        )  # fmt: skip


def test_a_vector_file_that_shrinks_under_a_reader(zygote, databases, tmp_path):
    path = tmp_path / "db"
    shutil.copytree(databases / "closed", path)
    assert zygote.run("damage:shrink_under_a_reader", str(path)) == ["CorruptError"] * 2


def test_an_index_that_shrinks_under_a_reader_is_made_again(compiling, databases, tmp_path):
    path = tmp_path / "db"
    shutil.copytree(databases / "indexed", path)
    assert compiling.run("damage:shrink_an_index_under_a_reader", str(path)) == ["True", "hrm2"]
