"""F13: whatever calls come in whatever order, a collection equals a dictionary and brute force."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fault_sizes import size
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from m2m_rag import Database
from m2m_rag.errors import DuplicateIdError, RecordNotFoundError

N_EXAMPLES = size(200, 5000)
N_STEPS = 15
IDS = st.sampled_from([f"id{i}" for i in range(12)])
VECTORS = st.lists(st.integers(-3, 3), min_size=3, max_size=3).map(tuple)
METADATA = st.fixed_dictionaries({}, optional={"a": st.integers(0, 3), "b": st.booleans()})
WORDS = ["fox", "heron", "kettle", "rust"]
TEXTS = st.none() | st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
RECORDS = st.dictionaries(IDS, st.tuples(VECTORS, METADATA, TEXTS), min_size=1, max_size=6)
FILTERS = st.one_of(
    st.integers(0, 3).map(lambda value: ({"a": value}, lambda m: m.get("a") == value)),
    st.integers(0, 3).map(lambda value: ({"a": {"$gt": value}}, lambda m: m.get("a", -1) > value)),
    st.booleans().map(lambda value: ({"b": {"$ne": value}}, lambda m: m.get("b") is not value)),
    st.just(({"a": {"$exists": True}}, lambda m: "a" in m)),
)
"""A filter, and what it means."""


class CollectionMachine(RuleBasedStateMachine):
    """A collection on disk beside a dictionary id → (vector, metadata, text)."""

    @initialize(metric=st.sampled_from(["cosine", "dot", "l2"]))
    def make(self, metric):
        memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
        self.metric = metric
        self.database = Database(self.folder / "db")
        self.collection = self.database.create("c", 3, metric)
        self.model = {}

    def columns(self, records):
        return {
            "vectors": [vector for vector, _, _ in records.values()],
            "ids": list(records),
            "metadatas": [metadata for _, metadata, _ in records.values()],
            "texts": [text for _, _, text in records.values()],
        }

    def matching(self, matches):
        return [id_ for id_, (_, metadata, _) in self.model.items() if matches(metadata)]

    @rule(records=RECORDS)
    def add(self, records):
        if set(records) & set(self.model):
            with pytest.raises(DuplicateIdError):
                self.collection.add(**self.columns(records))
        else:
            self.collection.add(**self.columns(records))
            self.model.update(records)

    @rule(records=RECORDS)
    def upsert(self, records):
        report = self.collection.upsert(**self.columns(records))
        assert report.updated == len(set(records) & set(self.model))
        self.model.update(records)

    @rule(ids=st.lists(IDS, min_size=1, max_size=4, unique=True), metadata=METADATA)
    def update(self, ids, metadata):
        if set(ids) - set(self.model):
            with pytest.raises(RecordNotFoundError):
                self.collection.update(ids, [metadata] * len(ids))
            return
        self.collection.update(ids, [metadata] * len(ids))
        for id_ in ids:
            vector, held, text = self.model[id_]
            self.model[id_] = (vector, {**held, **metadata}, text)

    @rule(ids=st.lists(IDS, max_size=4, unique=True))
    def delete(self, ids):
        assert self.collection.delete(ids) == len(set(ids) & set(self.model))
        for id_ in ids:
            self.model.pop(id_, None)

    @rule(condition=FILTERS)
    def delete_where(self, condition):
        where, matches = condition
        gone = self.matching(matches)
        assert self.collection.delete(where=where) == len(gone)
        for id_ in gone:
            del self.model[id_]

    def open(self, name):
        self.database.close()
        self.database = Database(self.folder / name)
        self.collection = self.database.open("c")

    @rule()
    def reopen(self):
        self.open(self.database.path.name)

    @rule()
    def kill(self):
        """Go on with the files as a kill at this moment would leave them."""
        old = self.database.path
        name = "copy" if old.name == "db" else "db"
        shutil.copytree(old, self.folder / name)
        self.open(name)
        shutil.rmtree(old)

    @rule(erase=st.booleans())
    def compact(self, erase):
        self.collection.compact(erase=erase)

    @rule()
    def verify(self):
        assert self.database.verify().is_sound

    @rule(word=st.sampled_from(WORDS), condition=st.none() | FILTERS)
    def search_by_words(self, word, condition):
        where, matches = condition or (None, lambda _: True)
        texts = {id_: self.model[id_][2] or "" for id_ in self.matching(matches)}
        found = [hit.id for hit in self.collection.search(text=word, k=20, where=where)]
        assert sorted(found) == sorted(id_ for id_, text in texts.items() if word in text)

    @rule(condition=FILTERS)
    def filter(self, condition):
        where, matches = condition
        expected = self.matching(matches)
        assert sorted(self.collection.ids(where)) == sorted(expected)
        assert self.collection.count(where) == len(expected)

    @rule(query=VECTORS, k=st.integers(1, 8), condition=st.none() | FILTERS)
    def search(self, query, k, condition):
        where, matches = condition or (None, lambda _: True)
        scores = {id_: self.score(query, self.model[id_][0]) for id_ in self.matching(matches)}
        hits = self.collection.search(query, k, where=where)
        assert len(hits) == len({hit.id for hit in hits}) == min(k, len(scores))
        best = sorted(scores.values(), reverse=True)[:k]
        assert [hit.score for hit in hits] == pytest.approx(best, abs=1e-5)
        for hit in hits:
            assert hit.score == pytest.approx(scores[hit.id], abs=1e-5)

    def score(self, query, vector):
        a, b = np.array(query, np.float64), np.array(vector, np.float64)
        if self.metric == "l2":
            return -float(np.linalg.norm(a - b))
        lengths = np.linalg.norm(a) * np.linalg.norm(b) if self.metric == "cosine" else 1.0
        return float(a @ b / lengths) if lengths else 0.0

    @invariant()
    def equals_the_model(self):
        if hasattr(self, "collection"):
            records = self.collection.get(include_vectors=True)
            found = {r.id: (tuple(r.vector.tolist()), r.metadata, r.text) for r in records}
            assert found == self.model
            assert len(records) == self.collection.count() == len(self.model)

    def teardown(self):
        if hasattr(self, "database"):
            self.database.close()
            shutil.rmtree(self.folder)


def test_a_collection_equals_a_dictionary(monkeypatch, fault_table):
    monkeypatch.setenv("M2M_BACKEND", "numpy")
    run_state_machine_as_test(
        CollectionMachine,
        settings=settings(
            max_examples=N_EXAMPLES,
            stateful_step_count=N_STEPS,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    fault_table.add("F13", "random calls against a model", N_EXAMPLES, None, differences=0)
