"""An index file that an attacker made, with right checksums: our error at worst, and no crash.

Numbers and arrays of a sound file are changed and the file is summed again. Then the collection is
searched, grown until clusters split, shrunk until dead rows are purged, and looked after. A file
whose numbers fit is believed, so answers through it are what its maker wants, as the records are;
through an index of our own, from `compact` on, they are exact again.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from contextlib import suppress

import numpy as np
import pytest
import xxhash
from fault_sizes import size

from m2m_rag import Database, M2MError
from m2m_rag.index.hrm2 import snapshots

N_FILES = size(30, 300)
SEED = 13
N_ROWS, D, K = 700, 8, 5
LIMIT_S = 60
VALUES = [
    None, True, 0, -1, 1, 7, 2**31, 2**62, 2**63, -(2**63), 0.5, float("nan"), float("inf"),
    1e308, -1e308, "", "x", [], {}, [1, 2], "9" * 30,
]  # fmt: skip
TABLE = ["<f8", "|u1", "O", "signs", [2**40], [-1, 5], [0], -64, 64]


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr("m2m_rag._indexing.INDEX_FROM", 200)
    path = tmp_path / "base"
    with Database(path) as database:
        collection = database.create("a")
        collection.add(
            np.random.default_rng(SEED).normal(size=(N_ROWS, D)),
            ids=[f"i{row}" for row in range(N_ROWS)],
            metadatas=[{"n": row} for row in range(N_ROWS)],
        )
        assert collection.wait_for_index(60)
    (file,) = path.rglob("*.hrm2")
    return path, file.relative_to(path)


def forge(path, rng):
    """Change one or two things of an index file, and make its checksums right."""
    raw = path.read_bytes()
    magic, version, length, _ = snapshots._HEAD.unpack(raw[:24])
    header = json.loads(raw[24 : 24 + length])
    body = bytearray(raw[snapshots._begin(length) :])
    for _ in range(rng.choice([1, 1, 2])):
        with suppress(
            TypeError, ValueError, IndexError, AttributeError
        ):  # an earlier one is in the way
            if rng.random() < 0.6:
                change_array(rng.choice(header["arrays"]), body, rng)
            else:
                change_number(header, rng)
    text = json.dumps(header).encode()
    head = snapshots._HEAD.pack(magic, version, len(text), xxhash.xxh3_64_intdigest(text))
    path.write_bytes((head + text).ljust(snapshots._begin(len(text)), b"\0") + body)


def change_array(entry, body, rng):
    _, kind, shape, offset, _ = entry
    array = np.frombuffer(body, np.dtype(kind), int(np.prod(shape)), offset).copy()
    is_whole = array.dtype.kind in "iu"
    how = rng.randrange(6)
    if how == 0:
        array[rng.randrange(len(array))] = rng.choice([0, 1, 100, 127])
    elif how == 1:
        array[:] = np.frombuffer(rng.randbytes(array.nbytes), array.dtype)
    elif how == 2:
        np.random.default_rng(rng.randrange(100)).shuffle(array)
    elif how == 3:
        most = (
            np.iinfo(array.dtype).max if is_whole else rng.choice([np.nan, np.inf, -np.inf, 3e38])
        )
        array[:] = most
    elif how == 4:
        array[rng.randrange(len(array))] = np.iinfo(array.dtype).min if is_whole else np.nan
    else:
        with np.errstate(over="ignore"):
            array *= array.dtype.type(rng.choice([0, 2, 100] if is_whole else [0.0, 1e3, 1e15]))
    body[offset : offset + array.nbytes] = array.tobytes()
    entry[4] = xxhash.xxh3_64_intdigest(array.tobytes())


def change_number(header, rng):
    names = ["dimension", "spread", "reach", "n_indexed", "n_built", "n_purged", "n_measured"]
    name = rng.choice([*names, "points", "points", "arrays"])
    value = rng.choice(VALUES)
    if name == "arrays":
        rng.choice(header["arrays"])[rng.randrange(4)] = rng.choice(VALUES + TABLE)
    elif name in ("points", "n_measured") and rng.random() < 0.7:
        part = header[name] if name == "n_measured" else rng.choice(header[name])
        part[rng.randrange(len(part))] = value
    else:
        header[name] = value


def attempts(collection, vectors):
    queries = np.random.default_rng(1).normal(size=(4, D)).astype(np.float32)
    more = np.random.default_rng(3).normal(size=(400, D)).astype(np.float32)

    def found_exactly():
        hits = collection.search(queries, K, lod=2)
        for query, mine in zip(queries, hits, strict=True):
            scores = {id_: float(cosine(query, vector)) for id_, vector in vectors.items()}
            best = sorted(scores.values(), reverse=True)[:K]
            assert [hit.score for hit in mine] == pytest.approx(best, abs=1e-5)

    def grow():
        ids = [f"n{row}" for row in range(len(more))]
        collection.add(more, ids=ids)
        vectors.update(zip(ids, more, strict=True))

    def shrink():
        collection.delete([f"i{row}" for row in range(0, N_ROWS, 2)])
        for row in range(0, N_ROWS, 2):
            del vectors[f"i{row}"]

    for options in ({}, {"lod": 0}, {"lod": 2}, {"recall": 0.8}, {"where": {"n": {"$lt": 50}}}):
        yield lambda options=options: collection.search(queries, K, **options)
    yield lambda: list(collection.search_progressive(queries[0], K))
    yield lambda: collection.explain(queries[0], K, id="i5")
    yield lambda: collection.search_mmr(queries[0], K)
    yield collection.stats
    yield grow
    yield lambda: collection.wait_for_index(30)
    yield lambda: collection.search(queries, K)
    yield shrink
    yield lambda: collection.search(queries, K)
    yield lambda: collection.wait_for_index(30)
    yield collection.verify
    yield collection.compact
    yield found_exactly


def cosine(one, two):
    return sum(float(a) * float(b) for a, b in zip(one, two, strict=True)) / (
        sum(float(a) ** 2 for a in one) * sum(float(b) ** 2 for b in two)
    ) ** 0.5  # fmt: skip


def use(path):
    """Do everything; any error but ours comes through."""
    with Database(path) as database:
        collection = database.open("a")
        stored = collection.get(include_vectors=True)
        vectors = {record.id: record.vector for record in stored}
        for attempt in attempts(collection, vectors):
            try:
                attempt()
            except M2MError:
                continue


def hanging(*_):
    raise TimeoutError(f"it hangs: no answer in {LIMIT_S} s")


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no alarm")
def test_hostile_indexes_raise_our_error_at_worst(base, tmp_path, fault_table, monkeypatch):
    path, file = base
    n_loaded = 0
    taken = []
    load = snapshots.load
    monkeypatch.setattr(snapshots, "load", lambda *a: taken.append(load(*a)) or taken[-1])
    signal.signal(signal.SIGALRM, hanging)
    for trial in range(N_FILES):
        rng = random.Random(f"{SEED}-{trial}")
        room = shutil.copytree(path, tmp_path / "room")
        forge(room / file, rng)
        taken.clear()
        signal.alarm(LIMIT_S)
        try:
            use(room)
        except BaseException as error:
            raise AssertionError(f"trial {trial}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
        n_loaded += any(state is not None for state in taken)
        shutil.rmtree(room)
    fault_table.add(
        "S5", "index files that an attacker made, with right checksums", N_FILES, SEED,
        other_errors=0, hung=0, crashed=0, refused=N_FILES - n_loaded,
    )  # fmt: skip
    assert 0 < n_loaded < N_FILES
