"""Whole runs, tiny: the command line, its JSON, its text and its charts."""

from __future__ import annotations

import importlib.util
import json
import os

import pytest
from typer.testing import CliRunner

from m2m_rag.bench.process import VARIABLES, in_fresh_process
from m2m_rag.bench.run import AnnOptions, Options, run_ann, run_scaling
from m2m_rag.cli.app import app
from m2m_rag.errors import InvalidInputError, M2MError

PNG = b"\x89PNG\r\n\x1a\n"
EMPTY_PNG_BYTES = 5_000
"""A figure without anything in it takes about 3 KB at this size."""


@pytest.fixture(scope="module")
def m2m():
    runner = CliRunner(env={"COLUMNS": "250"})

    def run(*arguments, code=0):
        result = runner.invoke(app, ["bench", *map(str, arguments)])
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture(scope="module")
def ann(m2m, tmp_path_factory):
    """The report of a tiny run in a process of its own, and what it printed."""
    out = tmp_path_factory.mktemp("ann") / "tiny.json"
    said = m2m(
        "ann", "--n-splats", 3000, "--dimension", 32, "--peers", "linear,hnswlib",
        "--skip-missing", "--threads", 1, "--rounds", 2, "--n-queries", 50, "--batch", "--out", out,
    )  # fmt: skip
    return out, said


@pytest.fixture(scope="module")
def scaling(m2m, tmp_path_factory):
    out = tmp_path_factory.mktemp("scaling") / "sizes.json"
    said = m2m(
        "scaling", "--sizes", "2000,1000", "--dimension", 16, "--rounds", 1, "--n-queries", 20,
        "--out", out,
    )  # fmt: skip
    return out, said


def test_every_row_carries_what_was_measured(ann):
    report = json.loads(ann[0].read_text())
    assert (report["format"], report["kind"], report["threads"]) == (1, "ann", 1)
    assert report["cpu"]
    assert report["versions"]["numpy"]
    data = {"name": "synthetic", "n": 3000, "d": 32, "metric": "ip", "n_queries": 50}
    assert data.items() <= report["data"].items()
    hnswlib = {"hnswlib"} if importlib.util.find_spec("hnswlib") else set()
    assert set(report["missing"]) == {"hnswlib"} - hnswlib
    assert {row["method"] for row in report["rows"]} == {"m2m", "linear"} | hnswlib
    for row in report["rows"]:
        assert 0 < row["recall"] <= 1
        assert 0 < row["batch_recall"] <= 1
        assert 0 < row["p50_us"] <= row["p95_us"] <= row["p99_us"]
        for key in ("qps_cpu", "qps_wall", "batch_qps_cpu", "batch_qps_wall"):
            assert row[key] > 0
        assert row["build_wall_s"] >= 0
        assert row["ram_bytes_per_row"] == row["ram_bytes"] / 3000
    assert all(row["build_cpu_s"] > 0 for row in report["rows"] if row["method"] != "linear")
    assert [row["setting"] for row in report["rows"] if row["method"] == "m2m"] == [
        {"recall": recall} for recall in (0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
    ]


def test_linear_search_is_exact(ann):
    report = json.loads(ann[0].read_text())
    (linear,) = (row for row in report["rows"] if row["method"] == "linear")
    # Two rows within rounding of each other may change places: one answer of 500.
    assert linear["recall"] >= 1 - 1 / 500
    assert linear["batch_recall"] >= 1 - 1 / 500


def test_the_summary_is_in_the_report_and_in_the_text(ann):
    out, said = ann
    report = json.loads(out.read_text())
    cases = [(entry["clock"], entry["recall"]) for entry in report["summary"]]
    clocks = ("qps_cpu", "qps_wall", "batch_qps_cpu", "batch_qps_wall")
    assert cases == [(clock, recall) for clock in clocks for recall in (0.95, 0.99)]
    assert "synthetic (3,000 × 32, ip), k = 10, threads 1, best of 2 rounds" in said
    assert "recall 0.95, queries a CPU-second: m2m " in said
    assert "best peer" in said
    assert f"written to {out}" in said


def test_scaling_rows(scaling):
    out, said = scaling
    report = json.loads(out.read_text())
    assert report["kind"] == "scaling"
    assert [row["n"] for row in report["rows"]] == [1000, 2000]
    for row in report["rows"]:
        for key in ("build_cpu_s", "ram_bytes_per_row", "recall", "qps_cpu", "linear_qps_cpu"):
            assert row[key] > 0
    assert "linear QPS" in said


def test_charts_are_drawn_from_the_json_alone(ann, scaling, m2m, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is missing: pip install 'm2m-rag[bench]'")
    said = m2m("charts", ann[0], scaling[0], "--out-dir", tmp_path / "png")
    names = [
        f"tiny_{name}" for name in ("recall_qps", "recall_qps_batch", "build", "memory", "latency")
    ]
    names += ["sizes_qps", "sizes_build"]
    drawn = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert drawn == sorted(f"{name}.png" for name in names)
    for name in drawn:
        assert name in said
        content = (tmp_path / "png" / name).read_bytes()
        assert content.startswith(PNG)
        assert len(content) > EMPTY_PNG_BYTES


def test_charts_of_something_else_are_refused(m2m, tmp_path):
    other = tmp_path / "other.json"
    for content in ("[]", "{", '{"format": 2, "kind": "ann"}', '{"format": 1, "kind": "x"}'):
        other.write_text(content)
        m2m("charts", other, "--out-dir", tmp_path / "png", code=5)
    m2m("charts", other, tmp_path / "there" / "other.json", "--out-dir", tmp_path, code=2)
    m2m("charts", tmp_path / "absent.json", "--out-dir", tmp_path, code=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ann", "--n-splats", 100, "--data", "."],
        ["ann"],
        ["ann", "--n-splats", 100, "--peers", "nobody"],
        ["ann", "--n-splats", 100, "--rounds", 0],
        ["ann", "--data", "no/such/folder", "--peers", "linear"],
        ["scaling", "--sizes", "a"],
        ["scaling", "--sizes", ","],
    ],
    ids=str,
)
def test_bad_arguments_are_told(arguments, m2m, tmp_path):
    assert "error:" in m2m(*arguments, "--out", tmp_path / "x.json", code=2)
    assert not (tmp_path / "x.json").exists()


def test_an_output_that_cannot_be_written_is_told_before_measuring(m2m, tmp_path):
    said = m2m("ann", "--n-splats", 10**9, "--out", tmp_path / "no" / "x.json", code=2)
    assert "cannot write" in said


def environment():
    return {name: os.environ.get(name) for name in VARIABLES}


def die():
    os._exit(9)


def test_a_fresh_process_begins_with_the_number_of_threads():
    before = environment()
    assert in_fresh_process(3, environment) == dict.fromkeys(VARIABLES, "3")
    assert environment() == before


def test_a_process_that_died_is_told():
    with pytest.raises(M2MError, match="the process that measured died"):
        in_fresh_process(1, die)


def test_euclidean_data(shared_data):
    folder = shared_data / "sift10k"
    options = AnnOptions(n_rounds=1, n_queries=40, folder=folder, peers=("linear",))
    report = run_ann(options, say=lambda line: None)
    assert report["data"] | {"n": 10_000, "d": 128, "metric": "l2"} == report["data"]
    assert report["data"]["ground_truth"] == "gt.npy"
    rows = {tuple(row["setting"].values()): row["recall"] for row in report["rows"]}
    assert rows[()] >= 0.995, "linear"
    assert rows[(0.995,)] > 0.95


def test_scaling_needs_a_size():
    with pytest.raises(InvalidInputError, match="at least one size"):
        run_scaling([], 8, Options(), say=print)
