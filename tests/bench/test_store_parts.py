"""The store benchmark's pure parts: choosing filters, judging answers, the table, reading data."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m_rag.bench.store.conditions import Term, as_where, choose, describe, matches
from m2m_rag.bench.store.data import Batch, batches, read, read_queries, schema_of
from m2m_rag.bench.store.judge import judge, make_cases
from m2m_rag.bench.store.registry import PEERS, STORES, chosen_stores, store_of
from m2m_rag.bench.store.run import StoreOptions, best_and_worst, changed_filter, folder_bytes
from m2m_rag.bench.store.table import as_text, filters_right
from m2m_rag.cli.bench import STORE_PEERS
from m2m_rag.errors import InvalidInputError, MissingExtraError
from m2m_rag.filters import matches as dialect_matches
from m2m_rag.filters import parse_where

metadata = st.dictionaries(
    st.sampled_from("abc"), st.integers(-2, 2) | st.sampled_from(["", "x", "y"]), max_size=3
)
terms = st.lists(
    st.builds(
        Term, st.sampled_from("abc"), st.just("eq"), st.integers(-2, 2) | st.sampled_from("xy")
    )
    | st.builds(Term, st.sampled_from("abc"), st.just("gte"), st.integers(-2, 2)),
    max_size=2,
).map(tuple)


@given(metadata, terms)
def test_our_dialect_means_the_same(record, chosen):
    """`matches` judges stores, ours among them; our own evaluator has another author."""
    where = as_where(chosen)
    expected = True if where is None else dialect_matches(parse_where(where), record)
    assert matches(record, chosen) is expected


def test_a_number_is_no_text():
    assert not matches({"a": "1"}, (Term("a", "eq", 1),))
    assert not matches({"a": "1"}, (Term("a", "gte", 1),))
    assert not matches({"b": 1}, (Term("a", "eq", 1),))


def records(n=1000):
    """Half are docs, a tenth of a repository, one in a hundred of a rare kind; years 0 to 99."""
    return [
        {
            "source": "docs" if row % 2 else "cve",
            "repo": "big" if row % 10 == 1 else f"other-{row}",
            "kind": "rare" if row % 100 == 2 else "",
            "year": row % 100,
        }
        for row in range(n)
    ]


def test_filters_are_chosen_by_how_much_they_match():
    found = choose(records(), ["source", "repo", "kind", "year"])
    counts = [sum(matches(record, one) for record in records()) for one in found]
    assert [describe(one) for one in found] == [
        "source = cve", "repo = big", "kind = rare", "repo = other-0", "year ≥ 90",
        "repo = big and year ≥ 90",
    ]  # fmt: skip
    assert counts == [500, 100, 10, 1, 100, 10]
    assert found == choose(records(), ["source", "repo", "kind", "year"])


def test_what_the_data_cannot_give_is_left_out():
    assert choose([{"a": "x"}, {"a": "x"}], ["a"]) == [(Term("a", "eq", "x"),)]
    assert choose([{"a": 1.5}], ["a"]) == [(Term("a", "gte", 1.5),)]
    assert choose([{"a": ""}, {}], ["a", "b"]) == []


def test_filters_as_a_dictionary():
    assert as_where(()) is None
    assert as_where((Term("a", "eq", 1),)) == {"a": 1}
    both = (Term("a", "eq", 1), Term("a", "gte", 0))
    assert as_where(both) == {"$and": [{"a": 1}, {"a": {"$gte": 0}}]}


@pytest.fixture
def judged():
    generator = np.random.default_rng(5)
    vectors = generator.normal(size=(60, 4)).astype(np.float32)
    vectors[50:] = vectors[:10]  # ten texts that come twice
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = vectors[[3, 20]] + np.float32(0.01)
    metadatas = [{"row": row} for row in range(60)]
    filters = [(), (Term("row", "gte", 57),)]
    return make_cases(filters, metadatas, vectors, queries, 5), vectors, queries


def plain_best(vectors, query, allowed, k):
    scores = {row: float(vectors[row].astype(float) @ query.astype(float)) for row in allowed}
    return sorted(allowed, key=lambda row: (-scores[row], row))[:k]


def test_right_answers_are_right(judged):
    cases, vectors, queries = judged
    assert [case.n_best for case in cases] == [5, 3]
    assert [case.n_matching for case in cases] == [60, 3]
    for case, allowed in zip(cases, (range(60), range(57, 60)), strict=True):
        found = [plain_best(vectors, query, allowed, case.n_best) for query in queries]
        assert judge(found, case, vectors, queries) == (1.0, 2, 2)
        assert judge([rows[::-1] for rows in found], case, vectors, queries) == (1.0, 2, 2)


def test_the_copy_of_one_of_the_best_is_as_good(judged):
    (case, _), vectors, queries = judged
    best = plain_best(vectors, queries[0], range(60), 5)
    assert {3, 53} <= set(best)
    fourth = next(row for row in range(60) if row not in best)
    assert judge([[*best[:4], fourth]], case, vectors, queries).recall == 0.8
    no_copies = make_cases([()], [{}] * 60, vectors, queries, 1)[0]
    assert judge([[53]], no_copies, vectors, queries) == (1.0, 1, 1)


def test_wrong_answers_are_seen(judged):
    (free, few), vectors, queries = judged
    best = plain_best(vectors, queries[0], range(60), 5)
    assert judge([best[:4]], free, vectors, queries) == (0.8, 0, 1), "too short"
    assert judge([[*best[:4], best[0]]], free, vectors, queries) == (0.8, 0, 1), "named twice"
    assert judge([[*best[:4], 60]], free, vectors, queries) == (0.8, 0, 1), "no such row"
    assert judge([[57, 58, 0]], few, vectors, queries) == (2 / 3, 0, 1), "does not match"
    assert judge([[57, 58, 59, 0]], few, vectors, queries) == (1.0, 0, 1), "one too many"
    worst = plain_best(vectors, -queries[0], range(60), 5)
    assert judge([worst], free, vectors, queries) == (0.0, 1, 1), "kept to the filter all the same"


def write_folder(folder, lines, vectors, queries=((1.0, 0.0),)):
    np.save(folder / "base_f16.npy", np.array(vectors, dtype=np.float16))
    np.save(folder / "query_f16.npy", np.array(queries, dtype=np.float16))
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as stream:
        stream.write("\n".join(lines))


LINES = [
    json.dumps({"text": "one", "_id": "b0", "year": 2024, "tags": ["x"], "is_new": True}),
    json.dumps({"text": "two", "year": 2024.5, "cwe": None}),
    json.dumps({"text": "three", "repo": "a/b"}),
]


def test_reading_a_folder(tmp_path):
    write_folder(tmp_path, LINES, [[3, 4], [0, 2], [1, 0]])
    data = read(tmp_path)
    assert data.rows == [0, 1, 2]
    assert data.vectors.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 1], [1, 0]]
    assert data.texts == ["one", "two", "three"]
    assert data.metadatas == [{"year": 2024}, {"year": 2024.5}, {"repo": "a/b"}]
    schema = schema_of(data)
    assert schema == (2, {"repo": "str", "year": "float"}, ("repo", "year"))
    assert schema_of(data, ("year",)).keys == ("year",)
    part = read(tmp_path, 2, first_row=10)
    assert part.rows == [10, 11]
    assert read_queries(tmp_path, 5).tolist() == [[1.0, 0.0]]
    assert [one.rows for one in batches(data, 2)] == [[0, 1], [2]]
    assert [one.texts for one in batches(data, 2)] == [["one", "two"], ["three"]]


@pytest.mark.parametrize(
    ("lines", "vectors", "message"),
    [
        (LINES[:2], [[1, 0]] * 3, "3 vectors and 2 records"),
        (["{}"], [[1, 0]], "line 1: expected an object with a 'text'"),
        (["{"], [[1, 0]], "line 1: not JSON"),
        (LINES, [[0, 0]] * 3, "length 0"),
        (LINES, [1, 2], "expected rows of numbers"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told(tmp_path, lines, vectors, message):
    write_folder(tmp_path, lines, vectors)
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path)


def test_records_that_are_not_there_are_told(tmp_path):
    with pytest.raises(InvalidInputError, match=r"base_f16.npy does not exist"):
        read(tmp_path)
    write_folder(tmp_path, LINES, [[1, 0]] * 3)
    with pytest.raises(InvalidInputError, match="3 vectors and 3 records, 4 asked for"):
        read(tmp_path, 4)
    with pytest.raises(InvalidInputError, match="no record has the metadata key 'yaer'"):
        schema_of(read(tmp_path), ("yaer",))
    mixed = Batch([0, 1], np.ones((2, 2), np.float32), ["", ""], [{"a": 1}, {"a": "1"}])
    with pytest.raises(InvalidInputError, match="'a' holds strings and numbers"):
        schema_of(mixed)


def test_best_and_worst():
    rounds = [{"a": 3.0, "b": None}, {"a": 1.0, "b": None}, {"a": 2.0, "b": None}]
    assert best_and_worst(rounds) == ({"a": 1.0, "b": None}, {"a": 3.0, "b": None})


def test_the_filter_for_deleting_is_that_of_about_a_tenth():
    found = choose(records(), ["source", "repo", "kind"])
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(1000, 3)).astype(np.float32)
    cases = make_cases([(), *found], records(), vectors, vectors[:1], 5)
    assert changed_filter(cases).name == "repo = big"
    alike = [{"a": "x"}] * 10
    everything = make_cases([(), *choose(alike, ["a"])], alike, vectors[:10], vectors[:1], 5)
    assert changed_filter(everything).name == "a = x", "never without a filter"


def test_the_size_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "in" / "b").write_bytes(b"123")
    assert folder_bytes(tmp_path) == 8


def report():
    case = {
        "name": "year ≥ 90", "p50_us": 1000.0, "cpu_us": 800.0, "recall": 0.95,
        "n_right": 9, "n_answers": 10,
        "worst": {"p50_us": 1500.0},
    }  # fmt: skip
    numbers = {
        "add_s": 2.0, "add_cpu_s": 1.0, "ready_s": 4.0, "ready_cpu_s": 2.0, "single_add_s": 0.01,
        "delete_s": 0.5, "import_s": 0.25, "reopen_s": 1.0,
    }  # fmt: skip
    row = {
        "method": "m2m", **numbers, "rss_bytes": 200 << 20, "anonymous_bytes": 77 << 20,
        "fill_grown_bytes": None,
        "disk_bytes": 100 << 20, "worst": {name: 1.1 * value for name, value in numbers.items()},
        "is_delete_right": True, "cases": [case, {**case, "name": "x", "n_right": 10}],
    }  # fmt: skip
    return {
        "data": {"n": 10_000}, "batch_rows": 1000, "n_adds": 20, "missing": ["qdrant"],
        "cases": [{"name": "year ≥ 90", "n_matching": 100}, {"name": "x", "n_matching": 1}],
        "rows": [row],
    }  # fmt: skip


def test_each_row_of_the_table_carries_recall_and_whether_filters_were_right():
    lines = as_text(report())
    assert lines[0] == "not installed: qdrant"
    (costs, answers, cpu) = (line for line in lines if line.startswith("m2m"))
    assert "5,000 ±9%" in costs
    assert costs.split()[-8:-5] == ["200", "77", "-"]
    for row in (costs, answers, cpu):
        assert "0.9500" in row
        assert row.endswith("19 of 20")
    assert "1,000 ±50% (0.950)" in answers
    assert "800 (0.950)" in cpu
    assert "F0 year ≥ 90: 100 records" in "\n".join(lines)
    right = report()["rows"][0]
    right["cases"] = right["cases"][1:]
    assert filters_right(right) == "yes"
    right["is_delete_right"] = False
    assert filters_right(right) == "yes, delete wrong"


def test_stores_by_name(monkeypatch):
    assert tuple(STORE_PEERS.split(",")) == PEERS
    assert [store_of(name).name for name in STORES] == list(STORES)
    with pytest.raises(InvalidInputError, match="no store 'chrom'.*Did you mean 'chroma'"):
        chosen_stores(["chrom"], skip_missing=True)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "lancedb" else 1)
    with pytest.raises(MissingExtraError, match=r"pip install 'm2m-rag\[bench-store\]'"):
        chosen_stores(["lancedb", "chroma"], skip_missing=False)
    stores, missing = chosen_stores(["lancedb", "chroma"], skip_missing=True)
    assert ([store.name for store in stores], missing) == (["m2m", "chroma"], ["lancedb"])


@pytest.mark.parametrize(
    "wrong", [{"n_rounds": 0}, {"k": 0}, {"n_adds": -1}, {"n_rows": 5}, {"batch_rows": 0}], ids=str
)
def test_options_are_checked(wrong, tmp_path):
    with pytest.raises(InvalidInputError, match="at least"):
        StoreOptions(tmp_path, **wrong)
