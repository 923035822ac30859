from __future__ import annotations

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import Section, Splitter
from m2m_rag.text.records import Piece, pieces, renamed


def _pieces(*sections: Section, max_chars: int = 40) -> list[Piece]:
    return list(pieces(iter(sections), Splitter(max_chars), "/root", "a.md", "hash"))


def test_metadata_of_a_verbatim_section_points_into_the_file() -> None:
    text = "First paragraph of the text here.\n\nSecond paragraph of the text."
    first, second = _pieces(Section(text, "T", line=10, offset=100, verbatim=True))
    assert first.metadata == {
        "source": "a.md",
        "root": "/root",
        "title": "T",
        "start": 100,
        "end": 133,
        "line": 10,
        "passage": 0,
        "source_hash": "hash",
        "splitter": "semantic:40:0",
    }
    assert (second.metadata["start"], second.metadata["line"]) == (135, 12)


def test_page_and_record_line_are_kept_and_passages_are_numbered_through() -> None:
    first, second = _pieces(Section("One.", "T", page=3), Section("Two\nlines.", "T", line=7))
    assert first.metadata["page"] == 3
    assert "line" not in first.metadata
    assert second.metadata["line"] == 7
    assert [first.metadata["passage"], second.metadata["passage"]] == [0, 1]


def test_equal_passages_of_one_source_have_different_ids() -> None:
    ids = [piece.id for piece in _pieces(Section("Same.", "T"), Section("Same.", "T"))]
    assert len(set(ids)) == 2


def test_own_metadata_never_clobbers_ours() -> None:
    own = {"source": "s", "document_source": "d", "year": 1, "end": 9}
    assert renamed(own) == {
        "document_document_source": "s",
        "document_source": "d",
        "year": 1,
        "document_end": 9,
    }
    (piece,) = _pieces(Section("Text.", "T", metadata=own))
    assert piece.metadata["source"] == "a.md"
    assert piece.metadata["end"] == 5
    assert piece.metadata["year"] == 1


@pytest.mark.parametrize("value", [2**63, float("nan"), {1: 2}, b"bytes", "\ud800"])
def test_metadata_that_cannot_be_stored_is_refused_before_anything_is_written(
    value: object,
) -> None:
    with pytest.raises(InvalidInputError, match=r"a\.md, passage 0"):
        _pieces(Section("Text.", "T", metadata={"bad": value}))


def test_lone_surrogate_in_a_text_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="surrogate"):
        _pieces(Section("Te\ud83dxt.", "T"))
