from __future__ import annotations

import codecs
import io
from pathlib import Path

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import blocks
from m2m_rag.text.blocks import cut_point, read_blocks, read_lines


def test_blocks_join_to_the_text_and_know_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_CHARS", 1000)
    monkeypatch.setattr(blocks, "_READ_BYTES", 333)
    text = "\r\n\r\n".join(f"Absatz {n} — über Größe 😀 und mehr Wörter." for n in range(400))
    path = tmp_path / "a.txt"
    path.write_bytes(codecs.BOM_UTF8 + text.encode())
    found = list(read_blocks(path))
    assert len(found) > 10
    assert "".join(block.text for block in found) == text
    for block in found:
        assert len(block.text) <= 1000
        assert text[block.offset :].startswith(block.text)
        assert block.line == text.count("\n", 0, block.offset) + 1
        assert block.text.startswith("Absatz")


@pytest.mark.parametrize("before", [0, 5, 70_000])
def test_undecodable_byte_is_named_with_its_offset(tmp_path: Path, before: int) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"x" * before + "é".encode() + b"\xff more")
    with pytest.raises(InvalidInputError, match=rf"bad\.txt.*offset {before + 2} is not UTF-8"):
        list(read_blocks(path))


def test_truncated_character_at_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt"
    path.write_bytes(codecs.BOM_UTF8 + b"abc" + "😀".encode()[:3])
    with pytest.raises(InvalidInputError, match="offset 6"):
        list(read_blocks(path))


def test_lines_are_numbered_and_a_bad_byte_is_found_in_the_file(tmp_path: Path) -> None:
    raw = codecs.BOM_UTF8 + b"one\r\n\ntwo"
    assert list(read_lines(io.BytesIO(raw), tmp_path)) == [(1, "one\r\n"), (2, "\n"), (3, "two")]
    with pytest.raises(InvalidInputError, match="offset 10 "):
        list(read_lines(io.BytesIO(raw[:10] + b"\xfe"), tmp_path))


def test_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_LINE_BYTES", 10)
    with pytest.raises(InvalidInputError, match="line 2 is longer than 10"):
        list(read_lines(io.BytesIO(b"short\n" + b"x" * 11), tmp_path))


def test_cut_point_prefers_headings_then_empty_lines_then_spaces() -> None:
    assert cut_point("short", 10) == 5
    assert cut_point("aaaa bbbb\n\ncc\n# Heading and more", 20) == len("aaaa bbbb\n\ncc\n")
    assert cut_point("aaaa bbbb\n\ncc\nheading and more", 18) == len("aaaa bbbb\n\n")
    assert cut_point("aaaa bbbb\r\n\r\ncc heading and more", 18) == len("aaaa bbbb\r\n\r\n")
    assert cut_point("aaaa bbbb cc heading", 12) == len("aaaa bbbb ")
    assert cut_point("x" * 30, 12) == 12
