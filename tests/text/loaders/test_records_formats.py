from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import Section, load


def _write(tmp_path: Path, name: str, content: str) -> Path:
    path = tmp_path / name
    raw = content.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_jsonl_one_section_a_line(tmp_path: Path, name: str) -> None:
    lines = [
        json.dumps({"text": "Grüße 😀", "title": "T", "year": 2020, "tags": ["x"]}),
        "",
        json.dumps({"content": "c", "body": "b"}),
        json.dumps({"body": "only", "title": 7}),
    ]
    path = _write(tmp_path, name, "\r\n".join(lines))
    assert list(load(path)) == [
        Section("T\n\nGrüße 😀", "T", line=1, metadata={"year": 2020, "tags": ["x"]}),
        Section("c", name, line=3, metadata={"body": "b"}),
        Section("only", name, line=4, metadata={"title": 7}),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 holds a list"),
        ('{"title": "no text"}', "line 2 has no text.*'title'.*'text'"),
        ('{"text": 5}', "line 2 has no text"),
        ('{"text": "a", "x": NaN}', "line 2 is not JSON: NaN"),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_bad_json_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = _write(tmp_path, "a.jsonl", '{"text": "fine"}\n' + line)
    with pytest.raises(InvalidInputError, match=message):
        list(load(path))


def test_jsonl_is_read_lazily(tmp_path: Path) -> None:
    sections = load(_write(tmp_path, "a.jsonl", '{"text": "first"}\nbroken'))
    assert next(sections).text == "first"


@pytest.mark.parametrize("damage", ["cut", "flip", "plain"])
def test_damaged_gzip_is_an_error_of_ours(tmp_path: Path, damage: str) -> None:
    raw = bytearray(gzip.compress(json.dumps({"text": "word " * 500}).encode() * 1))
    if damage == "cut":
        raw = raw[:-12]
    elif damage == "flip":
        raw[len(raw) // 2] ^= 0xFF
    else:
        raw = bytearray(b'{"text": "not compressed"}')
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(bytes(raw))
    with pytest.raises(InvalidInputError, match="gzip stream is damaged"):
        list(load(path))


def test_csv_with_a_text_column(tmp_path: Path) -> None:
    path = _write(
        tmp_path, "a.csv", 'title,text,year,empty\nT,"one,\r\ntwo",2020,\n\n,"plain ""x""",2021,\n'
    )
    assert list(load(path)) == [
        Section("T\n\none,\r\ntwo", "T", line=2, metadata={"year": "2020"}),
        Section('plain "x"', "a.csv", line=5, metadata={"year": "2021"}),
    ]


def test_csv_without_a_text_column_lists_its_fields(tmp_path: Path) -> None:
    for name, delimiter in (("a.csv", ";"), ("b.csv", "|"), ("c.tsv", "\t"), ("d.csv", ",")):
        path = _write(tmp_path, name, f"name{delimiter}city\nAda{delimiter}London\n")
        (section,) = load(path)
        assert section.text == "name: Ada\ncity: London"
        assert section.metadata == {"name": "Ada", "city": "London"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields.*Expected 2"),
        ("a,b\n1\n", "line 2 has 1 fields"),
        ("a,a\n1,2\n", "'a' twice"),
        ('a,b\n"1,2\n', "not CSV"),
    ],
)
def test_bad_csv_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        list(load(_write(tmp_path, "a.csv", content)))


def test_empty_csv_has_no_section(tmp_path: Path) -> None:
    assert list(load(_write(tmp_path, "a.csv", ""))) == []
    assert list(load(_write(tmp_path, "b.csv", "a,b\n"))) == []


def test_csv_fields_may_be_long(tmp_path: Path) -> None:
    long = "word " * 40_000
    (section,) = load(_write(tmp_path, "a.csv", f"title,text\nT,{long}\n"))
    assert section.text == f"T\n\n{long}"
