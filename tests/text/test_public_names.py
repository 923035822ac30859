from __future__ import annotations

import subprocess
import sys

import pytest

import m2m_rag.text


def test_every_public_name_is_there() -> None:
    for name in m2m_rag.text.__all__:
        assert getattr(m2m_rag.text, name) is not None
    assert dir(m2m_rag.text) == sorted(m2m_rag.text.__all__)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ingset'"):
        _ = m2m_rag.text.ingset


def test_no_optional_package_is_imported() -> None:
    code = (
        "import sys, m2m_rag.text as t\n"
        "[getattr(t, name) for name in t.__all__]\n"
        "t.as_embedder('minilm'), t.as_embedder('hashing'), t.Splitter()\n"
        "heavy = {'torch', 'sentence_transformers', 'transformers', 'pypdf',"
        " 'semantic_text_splitter', 'langchain_core', 'llama_index'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
