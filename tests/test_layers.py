"""The layers of the package: a module imports only from lower layers, siblings not at all."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import m2m_rag

ROOT = Path(m2m_rag.__file__).parent
BASE = {
    "_types",
    "_background",
    "_closing",
    "_dates",
    "_forking",
    "_lazy",
    "_optional",
    "_presence",
    "_threads",
    "_underway",
    "errors",
    "config",
    "scores",
}
LAYERS = [
    BASE,
    {"compute"},
    {"geometry", "clustering", "quantization", "encoding"},
    {"index", "memory", "storage", "filters", "energy"},
    {
        "collection",
        "database",
        "engine",
        "_columns",
        "_database_upkeep",
        "_depth",
        "_exploring",
        "_handle",
        "_indexing",
        "_iterating",
        "_opening",
        "_parts",
        "_reading",
        "_searching",
        "_sharing",
        "_twins",
        "_upkeep",
        "_writing",
        "aio",
        "inputs",
        "records",
    },
    {"splats", "text", "datalake"},
    {"service", "cli", "edge", "distributed", "bench"},
]
SAME_ROOM = {
    "collection",
    "database",
    "engine",
    "_columns",
    "_database_upkeep",
    "_depth",
    "_exploring",
    "_handle",
    "_indexing",
    "_iterating",
    "_opening",
    "_parts",
    "_reading",
    "_searching",
    "_sharing",
    "_twins",
    "_upkeep",
    "_writing",
    "aio",
    "inputs",
    "records",
}
"""The engine's files are one room: they may import each other."""
DRAWN = {("cli", "bench")}
"""Siblings that are drawn as one above the other: ``m2m bench`` runs the benchmarks."""
LAYER_OF = {name: layer for layer, names in enumerate(LAYERS) for name in names}
OPTIONAL = {
    "torch", "sentence_transformers", "pypdf", "semantic_text_splitter", "ray", "vulkan",
    "faiss", "hnswlib", "usearch", "scann", "svs", "matplotlib", "chromadb", "lancedb", "pyarrow",
    "qdrant_client",
}  # fmt: skip
FRAMEWORKS = {"langchain", "langchain_core", "llama_index", "langchain_m2m", "typer", "rich"}


MODULES = [
    (path, path.relative_to(ROOT).with_suffix("").parts[0]) for path in sorted(ROOT.rglob("*.py"))
]


def imports(path, *, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.iter_child_nodes(tree) if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


@pytest.mark.parametrize(("path", "room"), MODULES, ids=lambda value: getattr(value, "name", value))
def test_imports_come_from_lower_layers(path, room):
    if room == "__init__":
        return
    assert room in LAYER_OF, f"{room} has no layer"
    for name in imports(path):
        if not name.startswith("m2m_rag."):
            continue
        other = name.split(".")[1]
        if other == room or {room, other} <= SAME_ROOM or {room, other} <= BASE:
            continue
        if (room, other) in DRAWN:
            continue
        assert LAYER_OF[other] < LAYER_OF[room], f"{path}: {room} imports {other}"


@pytest.mark.parametrize(("path", "room"), MODULES, ids=lambda value: getattr(value, "name", value))
def test_optional_packages_are_imported_where_they_are_used(path, room):
    for name in imports(path, top_level_only=True):
        package = name.split(".")[0]
        assert package not in OPTIONAL, f"{path} imports {package} at import"
        assert package not in FRAMEWORKS or room == "cli", f"{path} imports {package} at import"


def test_no_file_is_a_god():
    long = {
        str(path.relative_to(ROOT)): lines
        for path, _ in MODULES
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert long == {}, "look for a second subject"
