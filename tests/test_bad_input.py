"""Input that cannot be used is refused with our own error and changes nothing, or round-trips."""

from __future__ import annotations

import datetime
import decimal
import time
import uuid

import numpy as np
import pytest

from m2m_rag.errors import DimensionError, DuplicateIdError, InvalidInputError, LimitError
from m2m_rag.filters import Exists

pytestmark = pytest.mark.fault("F12", "vectors, ids, texts, metadata, k, filters")
NAN, INF = float("nan"), float("inf")


class Broken(datetime.tzinfo):
    """A time zone that does not work."""

    def utcoffset(self, _):
        raise RuntimeError("no such zone")


class Timestamp(datetime.datetime):
    """Stands for pandas's, whose nanoseconds would be lost."""


GOOD_VECTORS = {
    "list": [[1, 2, 3]],
    "tuple": ((1.5, 2.0, 3.0),),
    "generator of lists": lambda: (row for row in [[1, 2, 3]]),
    "list of arrays": [np.array([1.0, 2, 3])],
    "float64": np.array([[1.0, 2, 3]]),
    "float16": np.array([[1.0, 2, 3]], np.float16),
    "int8": np.array([[1, 2, 3]], np.int8),
    "uint64": np.array([[1, 2, 3]], np.uint64),
    "Fortran order": np.asfortranarray(np.ones((4, 3))),
    "not contiguous": np.ones((6, 6))[::2, ::2],
    "big-endian": np.array([[1, 2, 3]], ">f4"),
    "read-only": np.broadcast_to(np.float32(1), (2, 3)),
    "zero": np.zeros((1, 3)),
    "subnormal": np.full((1, 3), 1e-45, np.float32),
}
BAD_VECTORS = {
    "NaN": ([[1, NAN, 3]], "component 1 is nan"),
    "Inf": ([[INF, 0, 0]], "component 0 is inf"),
    "float64 beyond float32": ([[1e300, 0, 0]], r"component 0 is 1e\+300"),
    "huge norm": ([[1e30, 0, 0]], "Scale the vectors down"),
    "short": ([[1, 2]], "dimension 2, the collection has 3"),
    "ragged": ([[1, 2, 3], [1, 2]], "not an array of numbers"),
    "one vector": ([1, 2, 3], r"pass \[vector\]"),
    "three axes": (np.ones((1, 1, 3)), r"shape \(n, d\)"),
    "scalar": (5.0, r"shape \(n, d\)"),
    "strings": ([["a", "b", "c"]], "real numbers"),
    "bool": (np.ones((1, 3), bool), "real numbers"),
    "complex": (np.ones((1, 3), complex), "real numbers"),
    "objects": ([[None, None, None]], "real numbers"),
    "None": (None, "real numbers|shape"),
    "dict": ({"a": 1}, "real numbers|shape"),
}
GOOD_METADATA = [
    {'a"; drop table x;--': 1},
    {"$.a.b": 1, "__proto__": {}, "": ""},
    {"x": 2**63 - 1, "y": -(2**63)},
    {"x": 1e-320, "y": -0.0, "z": 1.7976931348623157e308},
    {"l": list(range(100_000))},
    {"مرحبا": "😀\x00\u202e"},
    {"$ref": {"$ref": "#/a"}, "$days": 1, "at": {"$date": "2020-01-01T00:00:00Z"}},
    {"d": datetime.date(1, 1, 1), "l": [datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)]},
]
BAD_METADATA = {
    "not a dictionary": ([1], "is a dictionary or None, got list"),
    "key": ({1: 2}, "keys are strings"),
    "NUL in a key": ({"a": {"b\x00": 1}}, "holds a NUL"),
    "time": ({"d": datetime.time(1)}, r"\['d'\]: time is not JSON"),
    "datetime's subclass": ({"d": Timestamp(2020, 1, 1)}, "Timestamp is not JSON.*to_pydatetime"),
    "broken time zone": (
        {"d": [datetime.datetime(2020, 1, 1, tzinfo=Broken())]},
        r"\['d'\]\[0\]: the datetime's time zone fails",
    ),
    "array": (np.ones(3), "is a dictionary or None, got ndarray"),
    "mark of a datetime": ({"d": [{"$datetime": 1}]}, r"key '\$datetime' is reserved"),
    "mark of a date": ({"$day": "2020-01-01", "a": 1}, r"key '\$day' is reserved"),
    "Decimal": ({"d": decimal.Decimal(1)}, "Decimal is not JSON"),
    "bytes": ({"d": b"x"}, "bytes is not JSON"),
    "tuple": ({"d": (1,)}, r"tuple is not JSON.*list\(value\)"),
    "set": ({"d": {1}}, "set is not JSON"),
    "numpy scalar": ({"d": {"e": [np.float32(1)]}}, r"\['d'\]\['e'\]\[0\]: float32.*item\(\)"),
    "too large an int": ({"d": 2**63}, "64-bit"),
    "too small an int": ({"d": -(2**63) - 1}, "64-bit"),
    "NaN": ({"d": NAN}, "nan is not JSON"),
    "Inf": ({"d": [INF]}, "inf is not JSON"),
    "surrogate": ({"d": "\ud800"}, "lone surrogate"),
    "surrogate key": ({"\udfff": 1}, "lone surrogate"),
}
BAD_IDS = {
    "empty": ("", "not empty"),
    "int": (5, "is a string, got int 5"),
    "uuid": (uuid.UUID(int=1), "is a string, got UUID"),
    "None": (None, "is a string, got NoneType"),
    "bytes": (b"a", "is a string, got bytes"),
    "too long": ("é" * 257, "514 bytes"),
    "a megabyte": ("a" * 10**6, "1000000 bytes"),
    "surrogate": ("\ud800", "lone surrogate"),
}


@pytest.fixture
def collection(database):
    made = database.create("c", 3)
    made.add([[3, 2, 1]], ids=["kept"], texts=["t"], metadatas=[{"a": 1}])
    yield made
    (record,) = made.get(["kept"], include_vectors=True)
    assert (record.text, record.metadata, record.vector.tolist()) == ("t", {"a": 1}, [3, 2, 1])


def refused(collection, kind, message, **arguments):
    vectors = arguments.pop("vectors", [[1, 2, 3]])
    for act in (collection.add, collection.upsert):
        start = time.perf_counter()
        with pytest.raises(kind, match=message):
            act(vectors, **arguments)
        assert time.perf_counter() - start < 1
        assert collection.ids() == ["kept"]


@pytest.mark.parametrize("name", GOOD_VECTORS)
def test_vectors_of_any_kind_are_taken(collection, name):
    vectors = GOOD_VECTORS[name]
    vectors = vectors() if callable(vectors) else vectors
    expected = np.asarray([[1, 2, 3]] if "generator" in name else vectors, np.float32)
    ids = collection.add(vectors)
    stored = [record.vector for record in collection.get(ids, include_vectors=True)]
    assert np.stack(stored).tobytes() == expected.tobytes()
    assert len(collection.search(expected[0], 10)) == 1 + len(expected)


@pytest.mark.parametrize("name", GOOD_VECTORS)
def test_vectors_of_any_kind_replace_and_ask(collection, name):
    vectors = GOOD_VECTORS[name]
    made = (lambda: vectors()) if callable(vectors) else (lambda: vectors)
    n = len(list(made()))
    ids = [f"new{i}" for i in range(n)]
    collection.upsert(made(), ids=ids)
    assert collection.upsert(made(), ids=ids).updated == n
    asked = list(made()) if callable(vectors) else vectors
    assert [len(hits) for hits in collection.search(asked, 99)] == [1 + n] * n


def test_what_speaks_only_dlpack_is_refused(collection):
    class Tensor:
        def __dlpack__(self, **_):
            return np.ones((1, 3)).__dlpack__()

        def __dlpack_device__(self):
            return (1, 0)

    refused(collection, InvalidInputError, "real numbers", vectors=Tensor())
    (id_,) = collection.add(np.from_dlpack(Tensor()))
    collection.delete([id_])


@pytest.mark.parametrize("empty", [[], (), np.empty((0, 3)), np.empty((0, 0))])
def test_nothing_is_added(collection, empty):
    assert collection.add(empty) == []
    assert collection.upsert(empty).ids == []
    assert collection.search(np.empty((0, 3))) == []
    assert collection.ids() == ["kept"]


@pytest.mark.parametrize("name", [name for name in BAD_VECTORS if name != "one vector"])
def test_vectors_that_are_none_are_no_queries(collection, name):
    with pytest.raises(InvalidInputError):
        collection.search(BAD_VECTORS[name][0])


def test_torch_tensors_are_taken(collection):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    (id_,) = collection.add(tensor)
    assert collection.search(tensor[0], 1)[0].id == id_


@pytest.mark.parametrize("name", BAD_VECTORS)
def test_vectors_that_are_none_are_refused(collection, name):
    vectors, message = BAD_VECTORS[name]
    refused(collection, InvalidInputError, message, vectors=vectors)


@pytest.mark.parametrize("query", [[1, 2], [[1, 2]], [NAN, 0, 0], "abc", None, [], [[[1, 2, 3]]]])
def test_queries_that_are_none_are_refused(collection, query):
    with pytest.raises(InvalidInputError, match="vector"):
        collection.search(query)


def test_a_wrong_dimension_is_its_own_error(collection):
    with pytest.raises(DimensionError, match="another embedding model"):
        collection.search([1.0] * 4)
    refused(collection, DimensionError, "dimension 4", vectors=[[1, 2, 3, 4]])


@pytest.mark.parametrize("dimension", [1, 16_384])
def test_dimensions_small_and_large(database, dimension):
    made = database.create("d")
    made.add(np.eye(2, dimension))
    assert made.search(np.eye(1, dimension)[0], 1)[0].score == 1.0


def test_dimension_limits(database):
    with pytest.raises(DimensionError, match="dimension 0"):
        database.create("d").add(np.ones((2, 0)))
    with pytest.raises(LimitError, match="65537"):
        database.create("e").add(np.ones((1, 65_537)))


@pytest.mark.parametrize("metadata", GOOD_METADATA, ids=range(len(GOOD_METADATA)))
def test_any_json_comes_back(collection, metadata):
    (id_,) = collection.add([[1, 2, 3]], metadatas=[metadata])
    assert repr(collection.get([id_])[0].metadata) == repr(metadata)


@pytest.mark.parametrize("name", BAD_METADATA)
def test_metadata_that_is_none_is_refused(collection, name):
    metadata, message = BAD_METADATA[name]
    refused(collection, InvalidInputError, message, metadatas=[metadata])
    with pytest.raises(InvalidInputError, match=message):
        collection.update(["kept"], [metadata])


def test_metadata_depth(collection):
    def nested(depth):
        value: object = 1
        for _ in range(depth):
            value = {"a": value}
        return value

    collection.delete(collection.add([[1, 2, 3]], metadatas=[nested(64)]))
    for depth in (65, 1000, 100_000):
        refused(collection, LimitError, "deeper than 64", metadatas=[nested(depth)])


@pytest.mark.parametrize("name", BAD_IDS)
def test_ids_that_are_none_are_refused(collection, name):
    value, message = BAD_IDS[name]
    refused(collection, InvalidInputError, message, ids=[value])
    for act in (collection.get, collection.delete):
        with pytest.raises(InvalidInputError, match=message):
            act([value])


@pytest.mark.parametrize(
    "id_", ["a", "é" * 256, "😀" * 128, "\x00", " ", "\u202eabc", "'; --", "a" * 512]
)
def test_any_other_id_works(collection, id_):
    collection.upsert([[9, 9, 9]], ids=[id_])
    assert collection.get([id_])[0].id == id_
    assert collection.search([9, 9, 9], 1)[0].id == id_
    assert collection.delete([id_]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ids": "abc"}, "ids: expected a list"),
        ({"ids": []}, "ids: 0 given for 1"),
        ({"ids": ["a", "b"]}, "ids: 2 given for 1"),
        ({"texts": "abc"}, "texts: expected a list"),
        ({"texts": [5]}, r"texts\[0\]: a text is a string"),
        ({"texts": ["\ud800"]}, "lone surrogate"),
        ({"metadatas": {"a": 1}}, "metadatas: expected a list"),
        ({"metadatas": []}, "metadatas: 0 given for 1"),
        ({"alphas": [0]}, r"alphas\[0\]: expected a finite number above 0"),
        ({"alphas": [NAN]}, "above 0"),
        ({"kappas": [-1]}, "above 0"),
        ({"kappas": ["1"]}, "above 0"),
        ({"alphas": [True]}, "above 0"),
        *(
            ({name: np.array(1)}, f"{name}: expected a list")
            for name in ("ids", "texts", "metadatas", "alphas", "kappas", "expires_at")
        ),
        ({"metadatas": np.ones((1, 3))}, "is a dictionary or None, got ndarray"),
    ],
)
def test_columns_that_do_not_fit_are_refused(collection, arguments, message):
    refused(collection, InvalidInputError, message, **arguments)


@pytest.mark.parametrize("text", ["x" * 10**6, "a\x00b", "😀\u202eالعربية", " "])
def test_texts_come_back(collection, text):
    (id_,) = collection.add([[1, 2, 3]], texts=[text])
    assert collection.get([id_])[0].text == text


@pytest.mark.parametrize("k", [0, -1, 1.0, "5", None, True, 10**10])
def test_k_is_a_positive_whole_number(collection, k):
    with pytest.raises(InvalidInputError, match="k:"):
        collection.search([1, 2, 3], k)


def test_a_huge_k_returns_all(collection):
    assert len(collection.search([1, 2, 3], 10**9)) == 1
    assert len(collection.search([1, 2, 3], np.int64(5))) == 1


@pytest.mark.parametrize(
    "arguments", [{"limit": -1}, {"offset": -1}, {"limit": 1.5}, {"limit": True}]
)
def test_limits_of_get(collection, arguments):
    with pytest.raises(InvalidInputError, match="limit|offset"):
        collection.get(**arguments)


def test_options_are_checked(collection):
    with pytest.raises(InvalidInputError, match="mode"):
        collection.update(["kept"], [{}], mode="overwrite")
    with pytest.raises(InvalidInputError, match="metadatas: 0 given for 1 ids"):
        collection.update(["kept"], [])
    for value in (-0.1, 1.1, NAN, "a"):
        with pytest.raises(InvalidInputError, match="lambda_mult"):
            collection.search_mmr([1, 2, 3], lambda_mult=value)
    for value in ("", None, 5):
        with pytest.raises(InvalidInputError, match="fingerprint"):
            collection.bind_embedder(value)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.get(limit=10**30),
        lambda c: c.get(offset=10**30),
        lambda c: c.search([1.0, 0.0, 0.0], k=10**5000),
        lambda c: c.distinct("\ud800"),
        lambda c: c.distinct(5),
        lambda c: c.vectors_of_texts(["\ud800"]),
        lambda c: c.vectors_of_texts([5]),
        lambda c: c.vectors_of_texts(None),
        lambda c: c.vectors_of_texts("ab"),
        lambda c: c.upsert([[1.0, 0.0, 0.0]], only=np.array(["changed", "existing"])),
        lambda c: c.upsert([[1.0, 0.0, 0.0]], only=["changed"]),
        lambda c: c.update(["kept"], [{}], mode=np.array(["merge", "replace"])),
        lambda c: c.update(["kept"], np.ones((1, 3))),
        lambda c: c.search([1.0, 0.0, 0.0], lod=np.array([1, 2])),
        lambda c: c.search([1.0, 0.0, 0.0], lod=10**5000),
        lambda c: c.search([1.0, 0.0, 0.0], recall=10**5000),
        lambda c: c.search_mmr([1.0, 0.0, 0.0], lambda_mult=10**5000),
        lambda c: c.bind_embedder("\ud800"),
        lambda c: c.update(["a"], None),
        lambda c: c.add([[1.0, 0.0, 0.0]], alphas=[10**400]),
        lambda c: c.add([[1.0, 0.0, 0.0]], alphas=[10**5000]),
        lambda c: c.add([[1.0, 0.0, 0.0]], alphas=[np.ones(2)]),
        lambda c: c.add([[1.0, 0.0, 0.0]], kappas=[np.complex64(1)]),
        lambda c: c.add([[1.0, 0.0, 0.0]], metadatas=[{"a": 10**5000}]),
        lambda c: c.count({"a": 10**5000}),
        lambda c: c.database.create("wide", 65_537),
        lambda c: c.database.create("wide", 10**30),
    ],
)
def test_no_error_of_numpy_or_sqlite_escapes(collection, call):
    with pytest.raises(InvalidInputError):
        call(collection)


@pytest.mark.parametrize("path", ["a\0", "a\0b", "\ud800", "a" * 5000, 5, None])
def test_what_is_no_path_is_refused_everywhere(collection, path):
    for name, ask in {
        "key": lambda: collection.distinct(path),
        "by": lambda: collection.search_groups([1.0, 0.0, 0.0], path),
        "path": lambda: collection.ids(Exists(path)),
    }.items():
        with pytest.raises(InvalidInputError, match=name):
            ask()
    with pytest.raises(InvalidInputError, match="key"):
        collection.facets(path)


def test_the_longest_path_works(collection):
    collection.add([[1.0, 0.0, 0.0]], ids=["long"], metadatas=[{"é" * 2048: {"b": 1}}])
    assert collection.ids(Exists("é" * 2048)) == ["long"]
    collection.delete(["long"])


def test_a_late_duplicate_is_found_at_once(collection):
    ids = [f"id{i}" for i in range(100_000)]
    with pytest.raises(DuplicateIdError, match="'id99999' stands twice"):
        collection.add(np.ones((100_001, 3)), ids=[*ids, ids[-1]])


def test_numpy_told_to_raise_changes_nothing(collection):
    with np.errstate(all="raise"):
        collection.add([[1e-300, 1.0, 0.0]], ids=["a"])
        assert collection.search([1e-300, 1.0, 0.0])[0].id == "a"


@pytest.mark.parametrize("wrong", [["porter"], np.ones(2), 5, "porters", {"a": 1}])
@pytest.mark.parametrize("name", ["metric", "tokenizer"])
def test_what_is_none_of_the_choices_is_refused(database, name, wrong):
    with pytest.raises(InvalidInputError, match=f"{name}: expected '.*' or '.*', got"):
        database.create("other", **{name: wrong})
    assert "other" not in database.list()
