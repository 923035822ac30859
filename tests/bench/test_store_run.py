"""Stores from end to end, tiny: what each must do, and the command with its JSON and charts."""

from __future__ import annotations

import gzip
import importlib.util
import json
import mmap

import numpy as np
import pytest
from typer.testing import CliRunner

from m2m_rag.bench.store import work
from m2m_rag.bench.store.base import StoreMethod
from m2m_rag.bench.store.conditions import choose
from m2m_rag.bench.store.data import read, read_queries, schema_of
from m2m_rag.bench.store.judge import judge, make_cases
from m2m_rag.bench.store.registry import STORES, store_of
from m2m_rag.bench.store.work import Memory, Task, ask, change, fill
from m2m_rag.cli.app import app
from m2m_rag.errors import M2MError

N, D, K, N_ADDS = 120, 8, 5, 7
EXACT = 1.0
"""So few rows are searched exactly, or found by the widths that stores have by default."""


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """Records like those of the real data: not every one has every key, and one has a quote."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(11)
    np.save(folder / "base_f16.npy", generator.normal(size=(N, D)).astype(np.float16))
    np.save(folder / "query_f16.npy", generator.normal(size=(9, D)).astype(np.float16))
    with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as stream:
        for row in range(N):
            record = {"text": f"text {row}", "source": "it's" if row % 2 else "docs"}
            if row % 3 == 0:
                record |= {"year": 2000 + row % 20, "weight": row / 2}
            stream.write(json.dumps(record) + "\n")
    return folder


def task_of(name, data_folder, folder):
    store = store_of(name)
    if importlib.util.find_spec(store.package) is None:
        extra = "bench" if name == "qdrant" else "bench-store"
        pytest.skip(f"{store.package} is missing: pip install 'm2m-rag[{extra}]'")
    folder.mkdir()
    return Task(name, folder, data_folder, N, schema_of(read(data_folder)), K, 1, 50)


@pytest.mark.parametrize("name", STORES)
def test_what_a_store_does(name, data_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    task = task_of(name, data_folder, tmp_path / "store")
    data, queries = read(data_folder), read_queries(data_folder, 9)
    cases = make_cases(
        [(), *choose(data.metadatas, task.schema.keys)], data.metadatas, data.vectors, queries, K
    )
    filled = fill(task)
    assert 0 < filled["add_s"] <= filled["ready_s"]
    numbers, answers, parameters = ask(task, queries, [case.terms for case in cases])
    assert 0 < numbers["open_s"] <= numbers["reopen_s"] <= numbers["start_s"]
    assert isinstance(json.loads(json.dumps(parameters)), dict)
    for case, answer in zip(cases, answers, strict=True):
        assert len(answer.latencies_s) == len(queries)
        verdict = judge(answer.found, case, data.vectors, queries)
        assert verdict == (EXACT, len(queries), len(queries)), case.name
    gone = next(case for case in cases if case.terms)
    n_left = N + N_ADDS - gone.n_matching - int(gone.is_match[:N_ADDS].sum())
    changed = change(task, N_ADDS, gone.terms, queries[0])
    assert changed["single_add_s"] > 0
    assert (changed["n_left"], changed["n_left_matching"]) == (n_left, 0)


class Forgetful(StoreMethod):
    """Says that it holds nothing."""

    name = "forgetful"

    def create(self): ...
    def open(self): ...
    def add(self, batch): ...
    def search(self, query, k, terms): ...
    def delete(self, terms): ...
    def count(self):
        return 0

    def close(self): ...
    def parameters(self): ...


def test_a_store_that_lost_records_is_told(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(work, "store_of", lambda name: Forgetful)
    with pytest.raises(M2MError, match=f"forgetful holds 0 records after {N} were added"):
        fill(task_of("m2m", data_folder, tmp_path / "store"))


def test_memory_is_that_of_the_process():
    before = Memory.now()
    if before.rss_bytes is None:
        pytest.skip("/proc is missing: memory is told by Linux only")
    held = mmap.mmap(-1, 64 << 20)  # pages of its own: malloc may give what the heap holds already
    held.write(bytes(len(held)))
    after = Memory.now()
    assert after.rss_bytes - before.rss_bytes >= len(held) // 2
    assert after.peak_bytes >= after.rss_bytes >= after.anonymous_bytes


@pytest.fixture(scope="module")
def measured(data_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "stores.json"
    arguments = [
        "store", "--data", data_folder, "--peers", "qdrant", "--skip-missing", "--rows", 100,
        "--rounds", 2, "--n-queries", 6, "--adds", 3, "--keys", "source,year", "--out", out,
    ]  # fmt: skip
    runner = CliRunner(env={"COLUMNS": "250", "M2M_BACKEND": "numpy"})
    result = runner.invoke(app, ["bench", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_the_report_of_stores(measured):
    out, said = measured
    report = json.loads(out.read_text())
    has_qdrant = importlib.util.find_spec("qdrant_client") is not None
    names = ["m2m", "qdrant"] if has_qdrant else ["m2m"]
    assert report["missing"] == ["qdrant"] * (not has_qdrant)
    assert [row["method"] for row in report["rows"]] == names == list(report["methods"])
    assert {"n": 100, "d": D, "keys": ["source", "year"]}.items() <= report["data"].items()
    assert report["cases"][0] == {"name": "no filter", "n_matching": 100}
    for row in report["rows"]:
        assert row["is_delete_right"]
        assert row["add_s"] <= row["worst"]["add_s"]
        assert row["disk_bytes"] > 4 * 100 * D
        for name in ("import_s", "reopen_s", "delete_s", "single_add_s"):
            assert row[name] > 0
        for case, shown in zip(row["cases"], report["cases"], strict=True):
            assert case["name"] == shown["name"]
            assert case["recall"] == EXACT
            assert case["n_right"] == case["n_answers"] == 2 * 6
            assert 0 < case["p50_us"] <= case["p95_us"] <= case["p99_us"]
            assert case["p50_us"] <= case["worst"]["p50_us"]
    lines = [line for line in said.splitlines() if line.startswith("m2m")]
    assert len(lines) == 3
    assert all("1.0000" in line and line.endswith("yes") for line in lines)
    assert not list(out.parent.glob("m2m-bench-store-*")), "the stores are removed"


def test_charts_of_stores(measured, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install 'm2m-rag[bench]'")
    arguments = ["bench", "charts", str(measured[0]), "--out-dir", str(tmp_path)]
    result = CliRunner(env={"COLUMNS": "250"}).invoke(app, arguments)
    assert result.exit_code == 0, result.output
    drawn = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert drawn.keys() == {"stores_latency.png", "stores_costs.png"}
    assert min(drawn.values()) > 10_000


@pytest.mark.parametrize(
    "wrong",
    [["--peers", "nobody"], ["--rounds", "0"], ["--keys", "yaer"], ["--rows", "1000"]],
    ids=str,
)
def test_bad_arguments_of_stores_are_told(wrong, data_folder, tmp_path):
    arguments = ["bench", "store", "--data", data_folder, "--out", tmp_path / "x.json", *wrong]
    if "--peers" not in wrong:
        arguments += ["--peers", ""]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2, result.output
    assert "error:" in result.output
    assert not (tmp_path / "x.json").exists()
