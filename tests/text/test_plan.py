from __future__ import annotations

from typing import Any

from m2m_rag.text.plan import Held, Version, chunks, decide, held_sources


def _passage(
    source: str, source_hash: str = "h", splitter: str = "s", n: int = 2
) -> dict[str, Any]:
    return {"source": source, "source_hash": source_hash, "splitter": splitter, "n_passages": n}


def test_held_sources_counts_and_notes_disagreement() -> None:
    held = held_sources(
        [_passage("a"), _passage("b"), _passage("a"), _passage("b", "new"), _passage("b")]
    )
    assert held == {"a": Held(2, Version("h", "s", 2)), "b": Held(3, None)}


def test_decide() -> None:
    complete = Held(2, Version("h", "s", 2))
    assert decide("h", "s", None) == "added"
    assert decide("h", "s", complete) == "skipped"
    assert decide("other", "s", complete) == "updated"
    assert decide("h", "other", complete) == "updated"
    assert decide("h", "s", Held(1, Version("h", "s", 2))) == "updated"
    assert decide("h", "s", Held(2, None)) == "updated"


def test_chunks_are_sorted_and_bounded() -> None:
    assert chunks({"c", "a", "b"}, 2) == [["a", "b"], ["c"]]
    assert chunks([], 2) == []
