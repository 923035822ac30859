"""Source code and configuration: the file's text, with its language in the metadata."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m2m_rag.text.blocks import read_blocks
from m2m_rag.text.loaders.base import Section

_EXTENSIONS = {
    "bash": ".bash .sh .zsh",
    "c": ".c .h",
    "cpp": ".cc .cpp .cxx .hh .hpp .hxx",
    "csharp": ".cs",
    "css": ".css .scss",
    "cuda": ".cu .cuh",
    "dart": ".dart",
    "elixir": ".ex .exs",
    "erlang": ".erl",
    "glsl": ".comp .frag .glsl .vert",
    "go": ".go",
    "graphql": ".graphql",
    "haskell": ".hs",
    "ini": ".cfg .ini",
    "java": ".java",
    "javascript": ".cjs .js .jsx .mjs",
    "json": ".json",
    "julia": ".jl",
    "kotlin": ".kt .kts",
    "lua": ".lua",
    "ocaml": ".ml",
    "perl": ".pl .pm",
    "php": ".php",
    "powershell": ".ps1",
    "protobuf": ".proto",
    "python": ".py .pyi",
    "r": ".r",
    "ruby": ".rb",
    "rust": ".rs",
    "scala": ".scala",
    "sql": ".sql",
    "swift": ".swift",
    "terraform": ".tf",
    "toml": ".toml",
    "typescript": ".ts .tsx",
    "xml": ".xml",
    "yaml": ".yaml .yml",
    "zig": ".zig",
}
LANGUAGES: dict[str, str] = {
    extension: language
    for language, extensions in _EXTENSIONS.items()
    for extension in extensions.split()
}
"""Extension -> the value of ``metadata["language"]``."""


def load(path: Path) -> Iterator[Section]:
    """Yield the file's text, in several sections where it is large."""
    metadata = {"language": LANGUAGES[path.suffix.lower()]}
    for block in read_blocks(path):
        yield Section(
            block.text,
            path.name,
            line=block.line,
            offset=block.offset,
            verbatim=True,
            kind="code",
            metadata=metadata,
        )
