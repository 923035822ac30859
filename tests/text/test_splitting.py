from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m_rag.errors import InvalidInputError
from m2m_rag.text import Splitter, splitting
from m2m_rag.text.splitting import Passage

_PIECES = st.sampled_from(
    [
        *("word ", "Ein Satz. ", "😀", "👩\u200d👩\u200d👧 ", "é", "unbroken" * 9, "\x00", "\t"),
        *("\r\n", "\n", "\n\n", "\r\n\r\n", "\u2028", "wrapped line\nand its rest"),
        *("# Heading\n", "```\ncode = 1\n```\n", "- item\n", "| a | b |\n", "[a](b), ", "`c` "),
        *("<a id='x'></a>\n", "<!-- comment -->\n"),
    ]
)
_TEXTS = st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=120).map("".join))


@settings(max_examples=150, deadline=None)
@given(
    text=_TEXTS,
    max_chars=st.integers(16, 120),
    overlap=st.sampled_from([0, 7]),
    kind=st.sampled_from(["prose", "markdown", "code"]),
)
def test_offsets_are_exact_and_nothing_but_markup_is_lost(
    text: str, max_chars: int, overlap: int, kind: splitting.TextKind
) -> None:
    passages = list(Splitter(max_chars, overlap).split(text, kind))
    end = 0
    for passage in passages:
        assert text[passage.start : passage.end] == passage.text
        assert 0 < len(passage.text) <= max_chars
        assert passage.text.strip()
        assert passage.start >= end - overlap
        left_out = text[end : passage.start]
        assert not left_out.strip() or kind == "markdown"
        end = passage.end
    if kind != "markdown":
        assert not text[end:].strip()


def test_passages_keep_to_the_limit_in_long_texts_without_a_break() -> None:
    text = "a" * 200_000
    passages = list(Splitter(800).split(text))
    assert "".join(passage.text for passage in passages) == text


def test_long_text_is_cut_in_windows_with_running_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "_WINDOW_CHARS", 500)
    text = "\n\n".join(f"Paragraph {n} has a few words in it." for n in range(200))
    passages = list(Splitter(100).split(text))
    assert all(text[start:end] == piece for piece, start, end in passages)
    assert " ".join(" ".join(p.text for p in passages).split()) == " ".join(text.split())


def test_heading_stays_with_the_text_below_it() -> None:
    body = "This sentence says something. " * 3
    text = f"# One\n\n{body}\n\n## Two\n\n{body}"
    first, second = Splitter(110).split(text, "markdown")
    assert first.text.startswith("# One\n\nThis")
    assert second.text.startswith("## Two\n\nThis")


def test_markdown_without_a_visible_word_is_left_out() -> None:
    assert not list(Splitter().split('<!-- old heading -->\n<a id="x"></a>\n\n***', "markdown"))
    assert list(Splitter().split("<!-- old heading -->", "prose"))


def test_wrapped_prose_is_cut_between_sentences_not_lines() -> None:
    text = "The first sentence is wrapped over\ntwo lines. The second one is wrapped\nas well."
    assert [p.text for p in Splitter(64).split(text)] == [
        "The first sentence is wrapped over\ntwo lines.",
        "The second one is wrapped\nas well.",
    ]


def test_markdown_is_not_cut_at_the_comma_after_a_link() -> None:
    text = "Here is one sentence about [links](x), which goes on. Another has `code`. A third one."
    for passage in Splitter(64).split(text, "markdown"):
        assert passage.text.endswith(".")


def test_code_keeps_its_lines() -> None:
    text = "import os\nimport sys\nimport json\nimport time\nimport math\nimport cmath"
    for passage in Splitter(40).split(text, "code"):
        assert passage.text.startswith("import")


def test_empty_and_blank_texts_have_no_passages() -> None:
    assert not list(Splitter().split(""))
    assert not list(Splitter().split(" \r\n\t\n "))


def test_short_text_is_one_passage() -> None:
    assert list(Splitter().split("  Hello. ")) == [Passage("Hello.", 2, 8)]


@pytest.mark.parametrize(("max_chars", "overlap"), [(15, 0), (100, 50), (100, -1)])
def test_bad_settings_are_refused(max_chars: int, overlap: int) -> None:
    with pytest.raises(InvalidInputError, match="Expected"):
        Splitter(max_chars, overlap)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="prose"):
        list(Splitter().split("text", "html"))  # type: ignore[arg-type]


def test_fingerprint_tells_settings_apart() -> None:
    assert (
        len({Splitter().fingerprint, Splitter(500).fingerprint, Splitter(500, 9).fingerprint}) == 3
    )
