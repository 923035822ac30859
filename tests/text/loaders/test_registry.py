from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from m2m_rag.errors import InvalidInputError
from m2m_rag.text.loaders import LOADERS, extension, load, with_title


def test_every_registered_module_has_a_loader() -> None:
    for name, module in LOADERS.items():
        assert name == name.lower()
        assert name.startswith(".")
        assert callable(importlib.import_module(module).load)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.md", ".md"),
        ("A.MD", ".md"),
        ("v1.2.notes.txt", ".txt"),
        ("data.jsonl.gz", ".jsonl.gz"),
        ("data.tar.gz", None),
        ("README", None),
        (".md", None),
    ],
)
def test_extension(name: str, expected: str | None) -> None:
    assert extension(Path("folder.txt") / name) == expected


def test_unsupported_file_is_refused_with_the_list_of_extensions() -> None:
    with pytest.raises(InvalidInputError, match=r"picture\.png.*\.md"):
        load(Path("picture.png"))


def test_with_title() -> None:
    assert with_title("T", "text") == "T\n\ntext"
    assert with_title("T", "\nT: text") == "\nT: text"
    assert with_title("", "text") == "text"
