from __future__ import annotations

import pytest

from m2m_rag import Hit, Record
from m2m_rag.errors import InvalidInputError
from m2m_rag.text import HashingEmbedder, best_sentences
from m2m_rag.text.extract import sentences


def test_best_sentence_is_extracted_with_its_passage() -> None:
    passages: list[str | Hit | Record] = [
        "Bread is baked in an oven. It smells good when it is fresh.",
        Hit(
            "x",
            0.5,
            "Ships sail on the sea. A lighthouse guides ships at night.",
            {},
            1.0,
            None,
            None,
        ),
        Hit("y", 0.4, None, {}, 1.0, None, None),
    ]
    first, second = best_sentences("What guides ships at night?", passages, HashingEmbedder(), n=2)
    assert first.sentence == "A lighthouse guides ships at night."
    assert first.passage == 1
    assert 1.0 >= first.score > second.score


def test_a_sentence_in_two_passages_comes_once_from_the_first() -> None:
    passages = ["The same sentence stands twice."] * 2
    (only,) = best_sentences("same sentence", passages, HashingEmbedder(), n=5)
    assert only.passage == 0


def test_nothing_to_extract_from() -> None:
    assert best_sentences("What?", [], HashingEmbedder()) == []
    assert best_sentences("What?", ["  "], HashingEmbedder()) == []
    with pytest.raises(InvalidInputError, match="at least 1"):
        best_sentences("What?", ["Text."], HashingEmbedder(), n=0)


def test_sentences_of_markdown() -> None:
    text = (
        "# A heading of several words\n\nFirst one,\nwrapped. Second one (see e.g. Dr. J. Doe) "
        "is here! Short.\n\n- An item without full stop\n- Another item, e.g. this one\n\n"
        "```python\nx = 'Not a sentence. At all.'\n```\n\n| a table | has no sentences |\n\n"
        "<!-- A comment is no sentence. -->\nIs this the last question?"
    )
    assert sentences(text) == [
        "Second one (see e.g. Dr. J. Doe) is here!",
        "An item without full stop",
        "Another item, e.g. this one",
        "Is this the last question?",
    ]


def test_sentences_of_a_passage_that_is_only_code_or_a_fragment() -> None:
    assert sentences("```\nx = 1\n```") == ["``` x = 1 ```"]
    assert sentences("Too short.") == ["Too short."]


def test_sentences_without_spaces() -> None:
    assert sentences("東京は日本の首都です。人口は多いです。") == [
        "東京は日本の首都です。",
        "人口は多いです。",
    ]
