"""The distribution: its public names, its marker of types, its docstring's example."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import langchain_m2m
from langchain_m2m import vectorstores


def test_public_names() -> None:
    assert langchain_m2m.__all__ == ["M2MRetriever", "M2MTranslator", "M2MVectorStore"]
    assert all(hasattr(langchain_m2m, name) for name in langchain_m2m.__all__)
    assert (Path(langchain_m2m.__file__).parent / "py.typed").exists()


def test_the_translator_loads_on_first_use() -> None:
    code = (
        "import sys, langchain_m2m; print('langchain_m2m.translator' in sys.modules);"
        "langchain_m2m.M2MTranslator; print('langchain_m2m.translator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_docstring_example() -> None:
    failed, tried = doctest.testmod(vectorstores)
    assert tried > 0
    assert failed == 0
