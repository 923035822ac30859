from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest

from m2m_rag import Collection, Database
from m2m_rag.errors import DimensionError, EmbedderMismatchError, InvalidInputError
from m2m_rag.text import FailedSource, HashingEmbedder, Progress, Splitter, ingest, write

from .conftest import CountingEmbedder

_PARAGRAPHS = [
    f"Paragraph {n} tells something about the number {n}, and nothing else." for n in range(6)
]


def _folder(root: Path, n_files: int) -> Path:
    for n in range(n_files):
        path = root / f"part{n % 3}" / f"file{n:03}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# Document {n}\n\nIt is about topic {n}.\n\n" + "\n\n".join(_PARAGRAPHS))
    return root


def _texts(collection: Collection, source: str) -> list[str | None]:
    records = collection.get(where={"source": source})
    return [r.text for r in sorted(records, key=lambda r: int(r.metadata["passage"]))]


def test_two_hundred_files_three_edited_one_deleted(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    root = _folder(tmp_path / "docs", 200)
    splitter = Splitter(100)
    first = ingest(root, collection, embedder, splitter=splitter)
    assert (len(first.added), first.n_passages) == (200, collection.count())
    assert first.n_embedded == len(embedder.texts) == len(set(embedder.texts))
    embedder.texts.clear()

    again = ingest(root, collection, embedder, splitter=splitter)
    assert (len(again.skipped), again.n_passages, embedder.texts) == (200, 0, [])

    edited = [root / "part0/file000.md", root / "part1/file100.md", root / "part1/file199.md"]
    for n, path in enumerate(edited):
        path.write_text(path.read_text().replace(_PARAGRAPHS[3], f"A new paragraph, edit {n}."))
    (root / "part2" / "file002.md").unlink()
    report = ingest(root, collection, embedder, splitter=splitter)
    assert report.updated == ["part0/file000.md", "part1/file100.md", "part1/file199.md"]
    assert report.deleted == ["part2/file002.md"]
    assert (len(report.skipped), report.added, report.failed) == (196, [], [])
    assert len(embedder.texts) == report.n_embedded <= 6
    assert all("edit" in text for text in embedder.texts)
    assert collection.count({"source": "part2/file002.md"}) == 0
    assert any("edit 1" in (text or "") for text in _texts(collection, "part1/file100.md"))
    assert not any(_PARAGRAPHS[3] in (text or "") for text in _texts(collection, report.updated[0]))
    counts = "0 added, 3 updated, 1 deleted, 196 skipped, 0 empty, 0 failed, 0 ignored; "
    assert str(report).startswith(counts)


def test_passages_are_where_their_metadata_says(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    root = _folder(tmp_path, 4)
    ingest(root, collection, embedder, splitter=Splitter(100))
    for record in collection:
        meta = record.metadata
        text = (root / meta["source"]).read_text()
        assert text[meta["start"] : meta["end"]] == record.text
        assert meta["line"] == text.count("\n", 0, meta["start"]) + 1
        assert meta["root"] == root.resolve().as_posix()
        assert meta["title"].startswith("Document ")
        assert meta["n_passages"] == collection.count({"source": meta["source"]})


def test_moving_text_within_a_file_embeds_nothing(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(_PARAGRAPHS))
    ingest(tmp_path, collection, embedder, splitter=Splitter(80))
    before = {record.id: record.metadata["passage"] for record in collection}
    embedder.texts.clear()
    path.write_text("\n\n".join(reversed(_PARAGRAPHS)))
    report = ingest(tmp_path, collection, embedder, splitter=Splitter(80))
    after = {record.id: record.metadata["passage"] for record in collection}
    assert (report.updated, report.n_embedded, embedder.texts) == (["a.txt"], 0, [])
    assert after == {id: 5 - number for id, number in before.items()}
    assert _texts(collection, "a.txt") == _PARAGRAPHS[::-1]


def test_another_splitter_makes_new_passages(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    root = _folder(tmp_path, 3)
    ingest(root, collection, embedder, splitter=Splitter(100))
    report = ingest(root, collection, embedder, splitter=Splitter(200))
    assert len(report.updated) == 3
    assert collection.count({"splitter": Splitter(100).fingerprint}) == 0
    assert report.n_passages == collection.count()


def test_file_that_becomes_empty_and_full_again(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Some text.")
    ingest(tmp_path, collection, embedder)
    path.write_text(" \n")
    assert ingest(tmp_path, collection, embedder).empty == ["a.txt"]
    assert collection.count() == 0
    assert ingest(tmp_path, collection, embedder).empty == ["a.txt"]
    path.write_text("Some text.")
    assert ingest(tmp_path, collection, embedder).added == ["a.txt"]


def test_bad_files_are_reported_and_the_others_are_ingested(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    good = tmp_path / "good.txt"
    good.write_text("Good text.")
    (tmp_path / "bad.txt").write_bytes(b"ab\xff")
    (tmp_path / "bad.pdf").write_bytes(b"nothing")
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"text": "x", "n": 9223372036854775808}')
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    report = ingest(tmp_path, collection, embedder)
    assert report.added == ["good.txt"]
    failed = dict(report.failed)
    assert sorted(failed) == ["bad.jsonl", "bad.pdf", "bad.txt", "gone.txt", "loop.txt"]
    assert "offset 2" in failed["bad.txt"]
    assert "damaged" in failed["bad.pdf"]
    assert "64-bit" in failed["bad.jsonl"]
    assert "link" in failed["gone.txt"]
    assert [record.text for record in collection] == ["Good text."]
    assert "failed: bad.txt: " in str(report)
    good.write_bytes(b"\xff")
    report = ingest(tmp_path, collection, embedder)
    assert "good.txt" in dict(report.failed)
    assert [record.text for record in collection] == ["Good text."]


def test_file_name_that_is_no_text_fails_alone_and_can_be_printed(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/n\xe4me.txt")).write_text("Text.")
    except OSError:
        pytest.skip("this file system takes no file name that is not UTF-8")
    (tmp_path / "good.txt").write_text("Good.")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/l\xe4nk.txt")).symlink_to(tmp_path / "nowhere")
    report = ingest(tmp_path, collection, embedder)
    assert report.added == ["good.txt"]
    assert [failure.source for failure in report.failed] == ["l?nk.txt", "n?me.txt"]
    str(report).encode()


def test_what_is_ignored(tmp_path: Path, embedder: CountingEmbedder) -> None:
    root = tmp_path / "docs"
    _folder(root, 3)
    (root / ".hidden.md").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "a.md").write_text("hidden")
    (root / "image.png").write_bytes(b"png")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.txt")
    with Database(root / "store") as database:
        report = ingest(root, database.create("c"), embedder)
        assert len(report.added) == 3
        assert report.failed == []
        assert report.ignored == 6


def test_patterns_leave_out_files_but_delete_nothing(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    root = _folder(tmp_path, 6)
    report = ingest(root, collection, embedder, include="*.md", exclude=["part0/*"])
    assert len(report.added) == 4
    assert report.ignored == 2
    ingest(root, collection, embedder)
    (root / "part1/file001.md").unlink()
    report = ingest(root, collection, embedder, include="part2/*")
    assert (len(report.skipped), report.deleted) == (2, ["part1/file001.md"])
    (root / "part1/file004.md").unlink()
    assert ingest(root, collection, embedder, delete_missing=False).deleted == []


def test_one_file_is_the_same_source_as_in_its_folder(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    (tmp_path / "a.md").write_text("Text a.")
    (tmp_path / "b.md").write_text("Text b.")
    assert ingest(tmp_path / "a.md", collection, embedder).added == ["a.md"]
    report = ingest(tmp_path, collection, embedder)
    assert (report.skipped, report.added) == (["a.md"], ["b.md"])
    (tmp_path / "b.md").write_text("Text B.")
    assert ingest(str(tmp_path / "b.md"), collection, embedder).updated == ["b.md"]
    assert collection.count() == 2


def test_two_roots_in_one_collection_do_not_touch_each_other(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    one, two = _folder(tmp_path / "one", 3), _folder(tmp_path / "two", 3)
    ingest(one, collection, embedder)
    embedder.texts.clear()
    assert len(ingest(two, collection, embedder).added) == 3
    assert embedder.texts == []
    shutil.rmtree(one / "part0")
    assert ingest(one, collection, embedder).deleted == ["part0/file000.md"]
    assert collection.count({"root": two.resolve().as_posix()}) == 3


def test_large_source_is_written_in_parts_and_swapped(
    tmp_path: Path,
    collection: Collection,
    embedder: CountingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("write", "ingesting"):
        monkeypatch.setattr(f"m2m_rag.text.{module}.COMMIT_PASSAGES", 10)
    path = tmp_path / "big.jsonl"
    lines = [json.dumps({"text": f"Record number {n // 2}.", "n": n}) for n in range(35)]
    path.write_text("\n".join(lines))
    report = ingest(tmp_path, collection, embedder)
    assert (report.added, report.n_passages, report.n_embedded) == (["big.jsonl"], 35, 18)
    assert sorted(record.metadata["n"] for record in collection) == list(range(35))
    path.write_text("\n".join(lines[:5] + lines[9:] + [json.dumps({"text": "New."})]))
    report = ingest(tmp_path, collection, embedder)
    assert (report.updated, report.n_embedded) == (["big.jsonl"], 1)
    assert collection.count() == 32
    assert collection.count({"n": {"$in": [5, 6, 7, 8]}}) == 0
    assert ingest(tmp_path, collection, embedder).skipped == ["big.jsonl"]
    path.write_text("\n".join(lines[:3]))
    assert ingest(tmp_path, collection, embedder).updated == ["big.jsonl"]
    assert collection.count() == 3


def test_small_sources_share_commits(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    ingest(_folder(tmp_path, 40), collection, embedder)
    assert collection.stats()["n_commits"] <= 3


class _StopsAfter(CountingEmbedder):
    def __init__(self, n_texts: int) -> None:
        super().__init__()
        self._n_texts = n_texts

    def embed_documents(self, texts):  # type: ignore[no-untyped-def]
        if len(self.texts) >= self._n_texts:
            raise RuntimeError("stopped")
        return super().embed_documents(texts)


def test_after_an_interruption_nothing_committed_is_embedded_again(
    tmp_path: Path,
    collection: Collection,
    embedder: CountingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write, "COMMIT_PASSAGES", 8)
    root = _folder(tmp_path, 12)
    stopped = _StopsAfter(12)
    with pytest.raises(RuntimeError, match="stopped"):
        ingest(root, collection, stopped, batch_size=4, splitter=Splitter(100))
    committed = {record.text for record in collection}
    assert 0 < len(committed) <= len(stopped.texts)
    report = ingest(root, collection, embedder, splitter=Splitter(100))
    assert report.skipped
    assert len(report.added) + len(report.skipped) == 12
    assert not committed & set(embedder.texts)
    assert len(ingest(root, collection, embedder, splitter=Splitter(100)).skipped) == 12


def test_progress_counts_up_to_everything(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    events: list[Progress] = []
    root = _folder(tmp_path, 10)
    report = ingest(root, collection, embedder, batch_size=3, on_progress=events.append)
    assert events[-1] == Progress("part2/file008.md", 10, 10, report.n_passages, report.n_embedded)
    assert events[0].n_done == 0
    for before, after in itertools.pairwise(events):
        assert before.n_done <= after.n_done
        assert before.n_embedded <= after.n_embedded


def test_wrong_embedder_is_refused_before_anything_is_embedded(
    tmp_path: Path, embedder: CountingEmbedder
) -> None:
    root = _folder(tmp_path, 2)
    with Database.in_memory() as database:
        collection = database.create("a")
        ingest(root, collection, embedder)
        with pytest.raises(EmbedderMismatchError):
            ingest(root, collection, HashingEmbedder(32))
        embedder.texts.clear()
        with pytest.raises(DimensionError, match=r"length 64.*expects 8"):
            ingest(root, database.create("b", dimension=8), embedder)
        assert embedder.texts == []


def test_bad_arguments(tmp_path: Path, collection: Collection) -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        ingest(tmp_path / "nowhere", collection, "hashing")
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"a\.png.*\.md"):
        ingest(tmp_path / "a.png", collection, "hashing")
    with pytest.raises(InvalidInputError, match="batch_size"):
        ingest(tmp_path, collection, "hashing", batch_size=0)
    with pytest.raises(InvalidInputError, match="no embedder 'hash'"):
        ingest(tmp_path, collection, "hash")


def test_failed_source_is_a_pair() -> None:
    source, reason = FailedSource("a", "b")
    assert (source, reason) == ("a", "b")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9] + b"\xff"), "is not UTF-8"),
        (lambda path: path.write_text("short\n\n" * 9), "changed while it was being stored"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_a_large_file_that_changes_while_it_is_stored_fails_alone(
    tmp_path: Path, collection: Collection, change, reason: str
) -> None:
    class ChangingEmbedder(CountingEmbedder):
        def embed_documents(self, texts):
            if len(self.texts) == write.COMMIT_PASSAGES - 64:
                change(large)
            return super().embed_documents(texts)

    large = tmp_path / "a.txt"
    large.write_text("\n\n".join(f"Paragraph {n} " + "word " * 120 for n in range(1500)))
    (tmp_path / "z.txt").write_text("The others are stored.")
    report = ingest(tmp_path, collection, ChangingEmbedder())
    assert (report.added, [one.source for one in report.failed]) == (["z.txt"], ["a.txt"])
    assert reason in report.failed[0].reason
    large.write_text("Now it is still.")
    assert ingest(tmp_path, collection, CountingEmbedder()).skipped == ["z.txt"]
    assert _texts(collection, "a.txt") == ["Now it is still."]


def test_an_embedder_that_never_embedded_does_not_bind(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        ingest(tmp_path, collection, f"st:{tmp_path}")
    assert collection.embedder is None
    ingest(tmp_path, collection, embedder)
    assert collection.embedder == embedder.fingerprint


@pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
def test_the_report_names_empty_files_in_valid_unicode(
    tmp_path: Path, collection: Collection, embedder: CountingEmbedder
) -> None:
    (tmp_path / os.fsdecode(b"bad\xff.txt")).touch()
    assert ingest(tmp_path, collection, embedder).empty == ["bad?.txt"]
