"""The distribution: a PEP 420 portion, and imports of public names alone."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import llama_index
import llama_index.vector_stores
import llama_index.vector_stores.m2m as package
import pytest
from llama_index.core.embeddings import BaseEmbedding
from llama_index.vector_stores.m2m import M2MEmbedding

from m2m_rag.errors import InvalidInputError

ROOT = Path(__file__).parents[1]


def test_the_shared_folders_are_namespace_packages() -> None:
    assert llama_index.__file__ is None
    assert llama_index.vector_stores.__file__ is None
    assert package.__all__ == ["M2MEmbedding", "M2MVectorStore"]


def test_only_public_names_of_others_are_imported() -> None:
    own = "llama_index.vector_stores.m2m"
    for file in (ROOT / "llama_index").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(own):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                private = [n for n in names if n.startswith("_") and n != "__future__"]
                assert not private, (file.name, private)


def test_the_metadata_names_the_import_path_and_the_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needs = ["m2m-rag>=0.1,<0.2", "llama-index-core>=0.13,<0.15"]
    assert project["project"]["dependencies"] == needs
    assert project["tool"]["llamahub"]["import_path"] == "llama_index.vector_stores.m2m"


def test_the_embedding_asks_the_embedder(embed_model: M2MEmbedding) -> None:
    assert isinstance(embed_model, BaseEmbedding)
    assert embed_model.model_name == "test-words/64"
    one = embed_model.get_text_embedding("red apples")
    assert len(one) == 64
    assert embed_model.get_query_embedding("red apples") == one
    texts = ["red apples", *(f"text {i}" for i in range(150))]
    many = embed_model.get_text_embedding_batch(texts)
    assert (len(many), many[0]) == (151, one)


async def test_the_embedding_works_asynchronously(embed_model: M2MEmbedding) -> None:
    one = embed_model.get_text_embedding("red apples")
    assert await embed_model.aget_query_embedding("red apples") == one
    assert await embed_model.aget_text_embedding("red apples") == one
    assert await embed_model.aget_text_embedding_batch(["red apples"]) == [one]


def test_something_else_is_no_embedder() -> None:
    with pytest.raises(InvalidInputError, match="is no embedder"):
        M2MEmbedding(42)  # type: ignore[arg-type]
