"""What `import m2m_rag` costs and shows, and what is said when an extra is missing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import m2m_rag
from m2m_rag import _optional
from m2m_rag.errors import MissingExtraError

BUDGET_S = 0.05
HEAVY = (
    "numba",
    "llvmlite",
    "apsw",
    "vulkan",
    "torch",
    "ray",
    "langchain_core",
    "llama_index",
    "typer",
)


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_loads_nothing_heavy():
    code = f"import m2m_rag, sys; print([m for m in {HEAVY} if m in sys.modules])"
    assert fresh(code) == "[]"


def test_import_costs_little_more_than_numpy():
    """The fastest of several tries: a busy machine only ever adds time."""
    code = (
        "import numpy, time; start = time.perf_counter(); import m2m_rag;"
        "print(time.perf_counter() - start)"
    )
    assert min(float(fresh(code)) for _ in range(7)) < BUDGET_S


def test_importing_the_database_compiles_nothing():
    code = "from m2m_rag import Database; import sys; print('numba' in sys.modules)"
    assert fresh(code) == "False"


def test_opening_writing_and_reading_do_without_numba():
    code = """
import sys
from m2m_rag import Database
with Database.in_memory() as database:
    collection = database.create("c")
    collection.add([[1.0, 0.0]], ids=["x"], texts=["a text"])
    assert collection.get(where={"n": None})[0].id == collection.search(text="text")[0].id
    print("numba" in sys.modules)
    collection.search([1.0, 0.0])
    print("numba" in sys.modules)
"""
    assert fresh(code).split() == ["False", "True"]


def test_public_names():
    assert m2m_rag.__all__ == [
        "AsyncCollection", "AsyncDatabase", "Collection", "Database", "Facet", "Fusion", "Hit",
        "HitGroup", "M2MError", "Record", "WriteReport", "__version__",
    ]  # fmt: skip
    assert dir(m2m_rag) == sorted(set(m2m_rag.__all__) - {"__version__"})
    for name in m2m_rag.__all__:
        assert getattr(m2m_rag, name).__doc__ if name != "__version__" else m2m_rag.__version__
    with pytest.raises(AttributeError, match="no attribute 'Databse'. Did you mean 'Database'"):
        _ = m2m_rag.Databse


def test_every_error_is_one_of_ours_and_a_builtin():
    errors = importlib.import_module("m2m_rag.errors")
    kinds = [
        k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == errors.__name__
    ]
    for kind in kinds:
        assert issubclass(kind, m2m_rag.M2MError)
        assert kind.__name__ in errors.__doc__
        assert str(kind("what 'it' is")) == "what 'it' is"
        if kind is not m2m_rag.M2MError:
            builtins = (ValueError, KeyError, RuntimeError, ImportError, TypeError, OSError)
            assert issubclass(kind, builtins)


def text_uses():
    """Return, for each package of the extra ``text``, something that needs it."""
    from m2m_rag.text import SentenceTransformerEmbedder, Splitter, load

    return {
        "sentence_transformers": lambda folder: SentenceTransformerEmbedder("st-x").embed_query(
            "a"
        ),
        "semantic_text_splitter": lambda folder: list(Splitter().split("some text")),
        "pypdf": lambda folder: list(load(folder / "a.pdf")),
    }


@pytest.mark.parametrize("package", text_uses())
def test_a_missing_text_package_names_its_extra(package, monkeypatch, tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.4")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'm2m-rag\[text\]'"):
        text_uses()[package](tmp_path)


@pytest.mark.parametrize("package", ["langchain_m2m", "llama_index.vector_stores.m2m"])
def test_a_missing_adapter_names_the_demos_extra(package, monkeypatch, tmp_path):
    from m2m_rag.cli.demo import run

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'm2m-rag\[demo\]'"):
        run(tmp_path / "db")
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_command_line_package_names_its_extra(package):
    code = f"import sys; sys.modules['{package}'] = None; from m2m_rag.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert f"'{package}'" in done.stderr
    assert "pip install 'm2m-rag[cli]'" in done.stderr


@pytest.mark.parametrize("extra", ["vulkan", "torch", "server", "distributed", "bench"])
def test_any_extra_is_named(extra):
    with pytest.raises(MissingExtraError, match=rf"'no_such_package'.*m2m-rag\[{extra}\]"):
        _optional.require("no_such_package", extra)


def test_an_error_inside_an_optional_package_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        _optional.require("broken_package", "text")
