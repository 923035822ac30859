from __future__ import annotations

import hashlib
from pathlib import Path

from m2m_rag.text.ids import document_hash, file_hash, passage_id, text_key


def test_passage_id_is_the_documented_hash() -> None:
    digest = hashlib.blake2b(digest_size=16)
    for part in (b"/r", b"a/b.md", "Grüße".encode(), b"0"):
        digest.update(len(part).to_bytes(8, "little") + part)
    assert passage_id("/r", "a/b.md", "Grüße", 0) == digest.hexdigest()


def test_passage_ids_differ_in_every_part_and_at_every_seam() -> None:
    ids = {
        passage_id(*parts)
        for parts in [
            ("r", "s", "text", 0),
            ("r", "s", "text", 1),
            ("r", "s", "tex", 0),
            ("r", "st", "ext", 0),
            ("rs", "", "text", 0),
            ("q", "s", "text", 0),
        ]
    }
    assert len(ids) == 6


def test_file_hash_is_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"ab" * 700_000)
    assert file_hash(path) == hashlib.blake2b(b"ab" * 700_000, digest_size=16).hexdigest()


def test_document_hash_sees_every_part() -> None:
    assert document_hash("a", "t", {"x": 1}) != document_hash("a", "t", {"x": 2})
    assert document_hash("a", "t", {"x": 1, "y": 2}) == document_hash("a", "t", {"y": 2, "x": 1})
    assert text_key("a") != text_key("b")
