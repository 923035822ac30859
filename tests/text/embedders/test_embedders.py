from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from llama_index.core.embeddings import MockEmbedding

from m2m_rag.errors import InvalidInputError, MissingExtraError
from m2m_rag.text import EMBEDDERS, Embedder, ForeignEmbedder, HashingEmbedder, as_embedder
from m2m_rag.text.embedders import sentence_transformers as st

HASHED = [
    0.1674437,
    0.0000000,
    -0.1674437,
    -0.7255892,
    -0.3907019,
    0.1674437,
    -0.1674437,
    0.0000000,
    0.0000000,
    0.0000000,
    -0.3907019,
    0.0000000,
    0.0000000,
    -0.1674437,
    0.0000000,
    -0.1674437,
]


def _letters(text: str) -> list[float]:
    return [float(text.count("a")), float(text.count("b")), float(len(text))]


def _minilm() -> Embedder:
    os.environ["HF_HUB_OFFLINE"] = "1"
    return as_embedder("minilm")


MAKERS: dict[str, Callable[[], Embedder]] = {
    "hashing": HashingEmbedder,
    "minilm": _minilm,
    "langchain": lambda: as_embedder(DeterministicFakeEmbedding(size=12)),
    "llama_index": lambda: as_embedder(MockEmbedding(embed_dim=9)),
    "callable": lambda: as_embedder(_letters),
}


@pytest.mark.parametrize("name", MAKERS)
class TestContract:
    def test_shapes_and_types(self, name: str) -> None:
        embedder = MAKERS[name]()
        assert isinstance(embedder.fingerprint, str)
        vectors = embedder.embed_documents(["a house", "", "bees and 😀 and apples"])
        assert vectors.shape == (3, embedder.dimension)
        assert vectors.dtype == np.float32
        query = embedder.embed_query("a house")
        assert query.shape == (embedder.dimension,)
        assert query.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert embedder.embed_documents([]).shape == (0, embedder.dimension)

    def test_equal_texts_get_equal_vectors_in_any_batch(self, name: str) -> None:
        embedder = MAKERS[name]()
        texts = [f"{'word ' * n}and a bee" for n in (30, 1, 12, 1)]
        together = embedder.embed_documents(texts)
        alone = np.concatenate([embedder.embed_documents([text]) for text in texts])
        # Padding in a batch changes float32 sums of transformer models in the last places.
        np.testing.assert_allclose(together, alone, atol=1e-5)
        np.testing.assert_array_equal(together[1], together[3])


def test_registry_names_modules_that_exist() -> None:
    for entry in EMBEDDERS.values():
        assert callable(getattr(importlib.import_module(entry.module), entry.name))


def test_as_embedder_passes_an_embedder_through_without_loading_it() -> None:
    class Lazy(HashingEmbedder):
        loaded = False

        @property
        def dimension(self) -> int:
            self.loaded = True
            return 8

        @dimension.setter
        def dimension(self, value: int) -> None: ...

    lazy = Lazy()
    assert as_embedder(lazy) is lazy
    assert not lazy.loaded


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("minilmm", "Did you mean 'minilm'"),
        ("st", "st:<model>"),
        ("st:", "st:<model>"),
        ("hashing:5", "there is no embedder"),
        (7, "int is no embedder"),
        (HashingEmbedder, "type is no embedder"),
    ],
)
def test_what_is_no_embedder_is_refused(given: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        as_embedder(given)


def test_hashing_is_deterministic_normalised_and_honest() -> None:
    embedder = HashingEmbedder(16)
    assert "not-semantic" in embedder.fingerprint
    assert "not a semantic model" in (HashingEmbedder.__doc__ or "").lower()
    # Fixed values: they must never change under this fingerprint, on any platform.
    vector = embedder.embed_query("Grüße aus Köln")
    np.testing.assert_allclose(vector, HASHED, atol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert not embedder.embed_query(" \n…").any()
    with pytest.raises(InvalidInputError, match="at least 8"):
        HashingEmbedder(4)


def test_hashing_finds_shared_words_and_spellings() -> None:
    embedder = HashingEmbedder()
    query = embedder.embed_query("storing vectors")
    near, spelled, far = embedder.embed_documents(
        ["vectors are stored", "the vectorised store", "bread from an oven"]
    )
    assert query @ near > query @ spelled > query @ far


def test_foreign_fingerprints_name_class_and_model() -> None:
    model = MockEmbedding(embed_dim=9, model_name="mock-9")
    assert ForeignEmbedder(model).fingerprint.endswith("MockEmbedding(mock-9)")
    assert ForeignEmbedder(_letters).fingerprint.endswith("._letters")
    assert ForeignEmbedder(_letters, fingerprint="mine").fingerprint == "mine"


def test_foreign_methods_are_the_right_ones() -> None:
    class Model:
        def get_text_embedding_batch(self, texts: list[str]) -> list[list[float]]:
            return [[1.0, 0.0] for _ in texts]

        def get_query_embedding(self, text: str) -> list[float]:
            return [0.0, 1.0]

    embedder = ForeignEmbedder(Model())
    np.testing.assert_array_equal(embedder.embed_documents(["x"]), [[1.0, 0.0]])
    np.testing.assert_array_equal(embedder.embed_query("x"), [0.0, 1.0])


@pytest.mark.parametrize("result", [[1.0, 2.0, 3.0], "text", None, [], [["x"]]])
def test_foreign_nonsense_is_refused(result: object) -> None:
    def model(text: str) -> object:
        return result if text == "bad" else [1.0, 2.0]

    embedder = ForeignEmbedder(model)
    assert embedder.dimension == 2
    with pytest.raises(InvalidInputError, match="returned"):
        embedder.embed_documents(["bad"])


def test_foreign_rejects_unequal_lengths() -> None:
    embedder = ForeignEmbedder(lambda text: [1.0] * len(text))
    with pytest.raises(InvalidInputError, match="returned"):
        embedder.embed_documents(["a", "bb"])


def test_minilm_knows_meaning_without_network() -> None:
    embedder = _minilm()
    assert embedder.fingerprint == "sentence-transformers/all-MiniLM-L6-v2"
    assert embedder.dimension == 384
    query = embedder.embed_query("How do I repair my automobile?")
    near, far = embedder.embed_documents(["Fixing a broken car.", "Repeat the poem to my aunt."])
    assert query @ near > query @ far + 0.3


def test_missing_model_is_a_readable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    embedder = as_embedder("st:no-such-owner/no-such-model")
    assert embedder.fingerprint == "no-such-owner/no-such-model"
    with pytest.raises(InvalidInputError, match=r"no-such-model.*cannot be loaded.*pip install"):
        embedder.embed_query("x")


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    st._load.cache_clear()
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingExtraError, match=r"m2m-rag\[text\]"):
        _minilm().embed_query("x")


def test_folder_fingerprint_depends_on_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1")
    first = st.SentenceTransformerEmbedder(folder).fingerprint
    (folder / "weights").write_bytes(b"2")
    second = st.SentenceTransformerEmbedder(folder).fingerprint
    assert first != second
    assert first.startswith("sentence-transformers-folder:model:")
