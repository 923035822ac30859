"""The distribution: its public names, its marker of types, its docstring's example."""

from __future__ import annotations

import doctest
from pathlib import Path

import langchain_m2m
from langchain_m2m import vectorstores


def test_public_names() -> None:
    assert langchain_m2m.__all__ == ["M2MRetriever", "M2MVectorStore"]
    assert all(hasattr(langchain_m2m, name) for name in langchain_m2m.__all__)
    assert (Path(langchain_m2m.__file__).parent / "py.typed").exists()


def test_docstring_example() -> None:
    failed, tried = doctest.testmod(vectorstores)
    assert tried > 0
    assert failed == 0
