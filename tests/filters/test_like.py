"""Patterns: against the full table of prefixes, on texts that nearly fit."""

from __future__ import annotations

import pytest
from dialect_oracle import like as oracle
from dialect_oracle import tokens
from hypothesis import example, given, settings
from hypothesis import strategies as st

from m2m_rag.errors import InvalidFilterError
from m2m_rag.filters.like import check_pattern, like, literal

LETTERS = st.sampled_from(["a", "b", "A", "%", "_", "\\", "\n", "ß", "s", "İ", "\0"])
TEXTS = st.lists(LETTERS, max_size=8).map("".join)
PATTERNS = st.lists(
    st.sampled_from(["%", "%", "_", "a", "b", "\\a", "ß", "S"]) | LETTERS.map(literal), max_size=8
).map("".join)


@settings(max_examples=3000, deadline=None, derandomize=True)
@given(text=TEXTS, pattern=PATTERNS)
@example(text="ba", pattern="%a%b%")
@example(text="aba", pattern="ab%ba")
@example(text="ab", pattern="%ab%b")
@example(text="aab", pattern="%_b")
def test_patterns_fit_as_the_table_says(text, pattern):
    assert like(text, pattern) == oracle(text, tokens(pattern, fold=False))
    assert like(text, pattern, ignore_case=True) == oracle(
        text.casefold(), tokens(pattern, fold=True)
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=TEXTS, other=TEXTS)
def test_a_literal_fits_itself_alone(text, other):
    assert like(other, literal(text)) == (text == other)


@pytest.mark.parametrize("pattern", ["\\", "a\\", "\\\\\\"])
def test_half_an_escape_is_refused(pattern):
    with pytest.raises(InvalidFilterError, match="lone backslash"):
        check_pattern(pattern)
