"""Nothing in the packages runs code that it reads: no unpickling, no `eval`, no unsafe loader."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(
    path
    for folder in (ROOT / "m2m_rag", ROOT / "integrations")
    for path in folder.rglob("*.py")
    if "tests" not in path.parts
)
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADERS = {"torch": {"load"}, "yaml": {"load", "full_load"}}


def faults(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield node.module
        elif isinstance(node, ast.Call):
            function = node.func
            name = getattr(function, "id", None) or getattr(function, "attr", "")
            owner = getattr(getattr(function, "value", None), "id", "")
            is_builtin = isinstance(function, ast.Name) and name in CALLS
            if is_builtin or name in LOADERS.get(owner, ()):
                yield f"{owner}.{name}()"
            for keyword in node.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ("allow_pickle", "trust_remote_code") and not is_off:
                    yield f"{keyword.arg}="


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_runs_nothing_that_it_reads(path):
    assert list(faults(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "np.load(f, allow_pickle=True)", "torch.load(f)",
     "yaml.load(f)", "eval(x)", "model(trust_remote_code=flag)", "import dill.source"],
)  # fmt: skip
def test_what_is_looked_for_is_found(code):
    assert list(faults(ast.parse(code)))
