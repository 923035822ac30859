from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from m2m_rag.text import Section, load
from m2m_rag.text.loaders import markdown, rst
from m2m_rag.text.loaders.source_code import LANGUAGES


def _load(tmp_path: Path, name: str, content: str) -> list[Section]:
    path = tmp_path / name
    path.write_bytes(content.encode())
    return list(load(path))


def test_plain_text_keeps_every_character_but_the_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(codecs.BOM_UTF8 + "Zeile 1\r\nZeile 2 😀".encode())
    assert list(load(path)) == [
        Section("Zeile 1\r\nZeile 2 😀", "note.txt", line=1, offset=0, verbatim=True)
    ]


def test_empty_file_has_no_section(tmp_path: Path) -> None:
    assert _load(tmp_path, "empty.txt", "") == []
    assert _load(tmp_path, "empty.md", "") == []


def test_code_tells_its_language(tmp_path: Path) -> None:
    (section,) = _load(tmp_path, "main.RS", "fn main() {}\n")
    assert section.metadata == {"language": "rust"}
    assert (section.kind, section.title, section.verbatim) == ("code", "main.RS", True)
    assert {"python", "typescript", "toml", "yaml", "bash"} <= set(LANGUAGES.values())


def test_markdown_front_matter_gives_the_title_and_is_left_out(tmp_path: Path) -> None:
    text = '---\r\ntitle: "The: title"\r\nrank: 1\r\n---\r\n\r\n# Heading\r\nBody'
    (section,) = _load(tmp_path, "a.md", text)
    assert section.title == "The: title"
    assert section.text == "\r\n# Heading\r\nBody"
    assert (section.offset, section.line) == (text.index("\r\n# Heading"), 5)
    assert section.kind == "markdown"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n# The *first* `heading` ##\n\n# Second", "The *first* heading"),
        ("```\n# no heading\n```\n## [Linked](x.md) heading", "Linked heading"),
        ("~~~\n```\n# no\n~~~\n# Yes", "Yes"),
        ("Underlined\n==========\ntext", "Underlined"),
        ("- item\n---\n\n# Real", "Real"),
        ("+++\ntitle = 'Hugo'\n+++\ntext", "Hugo"),
        ("---\nrank: 1\n---\n# From the body", "From the body"),
        ("no heading, #hashtag", "a.md"),
        ("---\n\na rule, no front matter\n", "a.md"),
    ],
)
def test_markdown_title(tmp_path: Path, text: str, title: str) -> None:
    (section,) = _load(tmp_path, "a.md", text)
    assert section.title == title


def test_large_markdown_keeps_its_title_and_offsets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2m_rag.text.blocks.BLOCK_CHARS", 500)
    text = "# Title\n" + "".join(f"\n## Part {n}\n\nSome words here.\n" for n in range(60))
    sections = _load(tmp_path, "big.md", text)
    assert len(sections) > 2
    assert {section.title for section in sections} == {"Title"}
    assert "".join(section.text for section in sections) == text
    assert all(text[s.offset :].startswith(s.text) for s in sections)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("=====\nTitle\n=====\n\nText", "Title"),
        (".. comment\n\nSection one\n-----------\ntext", "Section one"),
        ("Too short underline\n---\n\nReal\n~~~~\n", "Real"),
        ("no heading\n\n----\n\nat all", "a.rst"),
    ],
)
def test_rst_title(tmp_path: Path, text: str, title: str) -> None:
    (section,) = _load(tmp_path, "a.rst", text)
    assert section.title == title
    assert section.text == text


def test_first_heading_of_nothing() -> None:
    assert markdown.first_heading("") is None
    assert rst.first_heading("") is None


@pytest.mark.parametrize("heading", [f"# a{' ' * 200_000}b", f"# {'[' * 200_000}"])
def test_a_line_too_long_for_a_heading_takes_no_quadratic_time(
    tmp_path: Path, heading: str
) -> None:
    front = f"---\ntitle: x{' ' * 200_000}y\n---\n"
    assert _load(tmp_path, "a.md", f"{heading}\n\n# Short\n")[0].title == "Short"
    assert _load(tmp_path, "b.md", front)[0].title.startswith("x   ")
