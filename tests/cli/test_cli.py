"""The command line: what each command prints, its JSON, its errors and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from m2m_rag import Database
from m2m_rag.cli.app import app
from m2m_rag.cli.output import EXIT_CODES, SOME_FAILED, exit_code, human_bytes
from m2m_rag.errors import M2MError


@pytest.fixture
def m2m(tmp_path, monkeypatch):
    """Run ``m2m`` in an empty folder with a wide screen."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"COLUMNS": "200"})

    def run(*arguments, code=0):
        result = runner.invoke(app, list(arguments))
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def docs(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tea.md").write_text("# Tea\n\nGreen tea is brewed at eighty degrees.\n")
    (folder / "bread.txt").write_text("Sourdough bread rises for twelve hours.\n")
    return folder


def test_ingest_search_info(m2m, docs):
    said = m2m("ingest", "docs", "-e", "hashing")
    assert "2 added, 0 updated, 0 deleted, 0 skipped" in said
    assert "holds 2 passages" in said
    assert "2 skipped" in m2m("ingest", "docs"), "the collection knows its embedder"

    said = m2m("search", "how long does bread rise", "-k", "1")
    assert "1. 0." in said
    assert "bread.txt" in said
    assert "Sourdough bread rises for twelve hours." in said
    assert "tea" not in said

    (hit,) = json.loads(m2m("search", "green tea", "-k", "1", "--json"))
    assert hit["metadata"]["source"] == "tea.md"
    assert hit["text"].endswith("eighty degrees.")
    assert 0 < hit["score"] <= 1
    where = '{"source": "bread.txt"}'
    (hit,) = json.loads(m2m("search", "green tea", "--where", where, "--json"))
    assert hit["metadata"]["source"] == "bread.txt"
    assert "nothing found" in m2m("search", "x", "--where", '{"source": "none"}')
    with Database("m2m_db") as database:
        database.open(database.list()[0]).update([hit["id"]], [{"day": date(2024, 5, 6)}])
    for op, n in (("$gte", 1), ("$gt", 0)):
        where = json.dumps({"day": {op: {"$day": "2024-05-06"}}})
        assert len(json.loads(m2m("search", "x", "--where", where, "--json"))) == n

    said = m2m("info")
    assert "hashing-lexical" in said
    assert "documents" in said
    info = json.loads(m2m("info", "--json"))
    assert info["collections"][0]["n_records"] == 2
    assert info["bytes"] > 4096


def test_dates_are_printed_as_iso_text(m2m, docs, tmp_path):
    m2m("ingest", "docs", "-e", "hashing")
    with Database(tmp_path / "m2m_db") as database:
        documents = database.open("documents")
        documents.update(documents.ids(), [{"day": date(2024, 5, 6)}] * 2)
    (hit,) = json.loads(m2m("search", "green tea", "-k", "1", "--json"))
    assert hit["metadata"]["day"] == "2024-05-06"


def test_reingest_reports_what_changed(m2m, docs):
    m2m("ingest", "docs", "-e", "hashing")
    (docs / "tea.md").write_text("# Tea\n\nBlack tea wants boiling water.\n")
    (docs / "bread.txt").unlink()
    (docs / "new.py").write_text("print('new')\n")
    report = json.loads(m2m("ingest", "docs", "--json"))
    assert (report["added"], report["updated"], report["deleted"]) == (
        ["new.py"],
        ["tea.md"],
        ["bread.txt"],
    )
    assert report["n_embedded"] == 2
    (docs / "tea.md").unlink()
    assert "0 deleted" in m2m("ingest", "docs", "--keep-missing")
    assert "0 added" in m2m("ingest", "docs", "--exclude", "*.py")


def test_a_source_that_fails_is_named_and_the_others_are_stored(m2m, docs):
    (docs / "broken.txt").write_bytes(b"caf\xe9 \xff\xfe")
    said = m2m("ingest", "docs", "-e", "hashing", code=SOME_FAILED)
    assert "2 added" in said
    assert "failed: broken.txt" in said


def test_collections(m2m, docs):
    with Database("m2m_db") as database:
        assert m2m("collections") == ""
        database.create("b")
        database.create("a")
    assert m2m("collections") == "a\nb\n"
    assert json.loads(m2m("collections", "--json")) == ["a", "b"]


def test_the_database_may_come_from_the_environment(m2m, docs, monkeypatch):
    monkeypatch.setenv("M2M_DB", "elsewhere")
    m2m("ingest", "docs", "-e", "hashing")
    assert (docs.parent / "elsewhere" / "database.sqlite").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "x"], 5, "is not a database"),
        (["ingest", "nowhere"], 2, "does not exist"),
        (["ingest", "docs", "-e", "hashin"], 2, "Did you mean 'hashing'"),
        (["search", "x", "--db", "full", "-c", "document"], 3, "Did you mean 'documents'"),
        (["search", "x", "--db", "full", "--where", "{"], 2, "--where is not JSON"),
        (["search", "x", "--db", "full", "--where", "[]"], 2, "got list"),
        (["search", "x", "--db", "full", "--where", '{"a": {"$gtt": 1}}'], 2, "'$gt"),
        (["search", "x", "--db", "full", "-k", "0"], 2, "k: expected at least 1"),
        (["search", "x", "--db", "full", "-e", "minilm"], 1, "was filled by embedder 'hashing"),
        (["info", "--db", "docs"], 5, "is not a database"),
    ],
)
def test_errors_are_one_paragraph_and_an_exit_code(m2m, docs, arguments, code, message):
    m2m("ingest", "docs", "--db", "full", "-e", "hashing")
    said = m2m(*arguments, code=code)
    assert said.startswith("error: ")
    assert message in " ".join(said.split())
    assert "Traceback" not in said
    assert "\n\n" not in said.strip()


def test_a_second_writer_is_told(m2m, docs):
    m2m("ingest", "docs", "-e", "hashing")
    hold = (
        "import sys; from m2m_rag import Database; d = Database('m2m_db');"
        "d.open('documents').delete([]); d.open('documents').delete(['x']);"
        "print('holding', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "holding\n"
        (docs / "tea.md").write_text("changed")
        assert f"process {holder.pid} on" in m2m("ingest", "docs", code=4)
        assert "1." in m2m("search", "bread"), "reading needs no lock"
        holder.communicate("")


def test_every_error_has_an_exit_code():
    codes = {exit_code(kind("x")) for kind in M2MError.__subclasses__()}
    assert codes <= {code for _, code in EXIT_CODES}
    assert {code for _, code in EXIT_CODES} | {0, SOME_FAILED} == set(range(8))


def test_help_is_short_and_names_the_exit_codes(m2m):
    said = m2m("--help")
    assert "Exit codes: 0 done" in said
    for command in ("ingest", "search", "info", "collections", "demo", "doctor"):
        assert command in said
        assert len(m2m(command, "--help").splitlines()) <= 40
    assert len(said.splitlines()) <= 40


def test_doctor_tries_every_backend(m2m):
    report = json.loads(m2m("doctor", "--json"))
    assert set(report["operations"]) == {"compute numpy", "compute numba", "storage"}
    assert all(said.startswith("right answer in ") for said in report["operations"].values())
    assert report["versions"]["sqlite"] >= "3.54"
    assert report["extras"]["cli"] == "installed"
    assert "pip install 'm2m-rag[distributed]'" in report["extras"]["distributed"]
    said = m2m("doctor")
    assert "right answer" in said
    assert "pip install 'm2m-rag[distributed]'" in said


def test_sizes_for_people():
    assert [human_bytes(n) for n in (5, 1536, 3 << 20, 5 << 30)] == [
        "5 B",
        "1.5 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]


def test_a_mistyped_argument_creates_nothing(m2m, docs):
    m2m("ingest", "nowhere", code=2)
    m2m("ingest", "docs", "-e", "hashin", code=2)
    assert "cannot be read" in m2m("ingest", "a" * 300, code=2)
    assert [path.name for path in docs.parent.iterdir()] == ["docs"]


def test_a_model_that_cannot_be_loaded_does_not_keep_another_out(m2m, docs):
    assert "cannot be loaded" in m2m("ingest", "docs", "-e", "st:docs", code=2)
    assert "2 added" in m2m("ingest", "docs", "-e", "hashing")


def test_passages_drive_no_terminal_and_lines_are_not_broken(m2m, docs):
    name = "long" * 50 + ".md"
    (docs / name).write_text("# \x1b]0;title\x07\n\nred \x1b[31m alarm\x9b\n")
    m2m("ingest", "docs", "-e", "hashing")
    said = m2m("search", "red alarm", "-k", "1")
    assert name in said
    assert "red \N{REPLACEMENT CHARACTER}[31m alarm" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)
    (docs / name).write_bytes(b"\xff")
    assert f"failed: {name}: {docs / name}: the byte" in m2m("ingest", "docs", code=SOME_FAILED)


def test_failures_of_the_system_are_one_paragraph(m2m, docs, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    m2m("ingest", "docs", "-e", "hashing")
    monkeypatch.setattr("typer.echo", full)
    said = m2m("search", "tea", "--json", code=1)
    assert said == "error: [Errno 28] No space left on device\n"


def test_info_counts_around_files_that_vanish(m2m, docs, monkeypatch):
    m2m("ingest", "docs", "-e", "hashing")
    rglob = Path.rglob
    monkeypatch.setattr(Path, "is_file", lambda self: True)
    monkeypatch.setattr(Path, "rglob", lambda self, p: [*rglob(self, p), self / "gone"])
    assert json.loads(m2m("info", "--json"))["bytes"] > 4096
