"""Saving an index, for power loss: the load, what it leaves, and the check of a state of the disk.

The index is derived: it may be missing or damaged, never wrong.
"""

from __future__ import annotations

from pathlib import Path

from fault_load import DIMENSION, MAIN, Load, State, Step, difference, read, say
from upkeep_load import INDEX_FROM, Act, K, check_answers, use_small_sizes, writes

from m2m_rag import Database
from m2m_rag.index.hrm2.growing import GROUP


def index(path: str, seed: int) -> None:
    """Add records, let them be indexed and saved, and compact, some times over."""
    use_small_sizes()
    load = Load(path)
    for number, step in enumerate(_index_steps(seed)):
        step.act(load)
        say(number)
    load.database.close()


def index_states(seed: int) -> list[State]:
    """Return what is stored before `index` and after each of its steps."""
    return [{}, *(step.after for step in _index_steps(seed))]


def check_index(path: Path, allowed: list[State]) -> bool:
    """Check a database whose index may be missing or damaged; return whether it was damaged."""
    with Database(path) as database:
        report = database.verify()
        assert not report.lost, report.findings
        assert {finding.kind for finding in report.findings} <= {"derived", "leftover"}
        found = read(database)
        assert found in allowed, difference(found, allowed)
        for name, records in found.items():
            collection = database.open(name)
            if records:
                hits = collection.search(next(iter(records.values())).vector, K)
                assert len(hits) == min(K, len(records))
                assert {hit.id for hit in hits} <= set(records)
            check_answers(collection, records)
            assert collection.wait_for_index()
            if len(records) >= INDEX_FROM:
                assert collection.stats()["index"]["kind"] == "hrm2"
            check_answers(collection, records)
        assert database.repair().is_sound
        assert database.verify().findings == []
    return any(finding.kind == "derived" for finding in report.findings)


def _index_steps(seed: int) -> list[Step]:
    """Return the steps of `index`: writes, and what is done about the index after them."""
    steps = writes(seed, GROUP, 5)
    for place, (name, act) in _UPKEEP.items():
        steps.insert(place, Step(name, act, steps[place - 1].after))
    return steps


def _bring_index_up_to_date(load: Load) -> None:
    collection = load.database.open(MAIN)
    collection.search([0.5] * DIMENSION, 1)
    assert collection.wait_for_index()
    assert collection.stats()["index"]["kind"] == "hrm2"


_UPKEEP: dict[int, tuple[str, Act]] = {
    2: ("index", _bring_index_up_to_date),
    4: ("index", _bring_index_up_to_date),
    6: ("index", _bring_index_up_to_date),
    7: ("compact", lambda load: load.database.open(MAIN).compact(erase=True)),
    8: ("index", _bring_index_up_to_date),
    10: ("flush", lambda load: load.database.flush()),
}
"""What is done between the writes, by its place among all steps."""
