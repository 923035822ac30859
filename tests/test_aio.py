"""The asynchronous twins: complete, equal to the synchronous classes, and the loop goes on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from m2m_rag import AsyncCollection, AsyncDatabase, Collection, Database
from m2m_rag.errors import (
    ClosedError,
    CollectionNotFoundError,
    DimensionError,
    WriterLockedError,
)
from m2m_rag.inputs import SLICE_NUMBERS, as_vectors
from m2m_rag.storage import lock

STALL_S = 0.05
"""The longest that the loop may stand still during an add of 4,000 x 384."""
RUNS = 7
"""A busy machine only ever adds time: the best of so many runs counts."""


@pytest.fixture(params=["memory", "disk"])
async def database(request, tmp_path):
    made = AsyncDatabase.in_memory() if request.param == "memory" else AsyncDatabase(tmp_path / "d")
    async with made as database:
        yield database


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("sync", "twin"), [(Collection, AsyncCollection), (Database, AsyncDatabase)]
)
def test_the_twins_have_the_same_names_and_arguments(sync, twin):
    assert public(twin) == public(sync) | {"sync"}
    for name in [*public(sync), "__init__"]:
        theirs, ours = getattr(sync, name), getattr(twin, name)
        assert isinstance(theirs, property) == isinstance(ours, property), name
        assert ours.__doc__ or name == "__init__", name
        if isinstance(theirs, property) or (sync is Collection and name == "__init__"):
            continue
        expected, found = inspect.signature(theirs), inspect.signature(ours)
        assert list(found.parameters.values()) == list(expected.parameters.values()), name
        is_awaited = inspect.iscoroutinefunction(ours) or "AsyncIterator" in str(
            found.return_annotation
        )
        assert is_awaited or name in ("__init__", "in_memory"), name


async def test_the_twins_do_what_the_others_do(database):
    notes = await database.create("notes", 2)
    assert await database.list() == ["notes"]
    assert (notes.name, notes.metric, await notes.dimension) == ("notes", "cosine", 2)
    assert notes.database is database
    assert await notes.add([[1, 0], [0, 1]], ids=["x", "y"], texts=["east", None]) == ["x", "y"]
    await notes.bind_embedder("e")
    assert await notes.embedder == "e"
    assert (await notes.upsert([[1, 1]], ids=["z"])).added == 1
    assert await notes.update(["z"], [{"n": 1}]) == 1
    assert [hit.id for hit in await notes.search([1, 0], 2)] == ["x", "z"]
    assert [[h.id for h in hits] for hits in await notes.search([[1, 0], [0, 1]], 1)] == [
        ["x"],
        ["y"],
    ]
    assert len(await notes.search_mmr([1, 0], 2)) == 2
    assert [stage.lod async for stage in notes.search_progressive([1, 0], 1)] == [0, 1, 2]
    assert (await notes.explain([1, 0], 1)).lod == 1
    assert [record.id async for record in notes] == ["x", "y", "z"]
    assert [record.text for record in await notes.get(["x"])] == ["east"]
    assert await notes.distinct("n") == [1]
    assert await notes.delete(["x"]) == 1
    assert await notes.count() == 2 == (await notes.stats())["n_records"]
    assert await notes.ids() == ["y", "z"]
    assert repr(notes).startswith("<AsyncCollection 'notes' of <Database ")
    async with await database.open("notes") as again:
        assert await again.clear() == 2
    with pytest.raises(ClosedError):
        await again.count()
    with pytest.raises(DimensionError):
        await notes.add([[1, 2, 3]])
    await database.drop("notes")
    with pytest.raises(CollectionNotFoundError):
        await database.open("notes")


TYPED = """
from m2m_rag import AsyncDatabase

async def use() -> None:
    async with AsyncDatabase("x") as database:
        notes = await database.open("notes")
        ids: list[str] = await notes.add([[1.0]], ids=["a"])
        texts = [hit.text for hit in await notes.search([1.0])]
        many = [hits[0].score for hits in await notes.search([[1.0], [2.0]])]
        length = (await notes.dimension or 0) + await notes.count()
        records = [record.alpha async for record in notes]
        stages = [stage.recall async for stage in notes.search_progressive([1.0])]
        await notes.get(limit="all")
        await notes.delete(idz=["a"])
"""


def test_type_checkers_know_the_twins(tmp_path, monkeypatch):
    """The project's own settings, whose cache `make lint` has filled."""
    from mypy import api

    monkeypatch.chdir(Path(__file__).parents[1])
    (tmp_path / "typed.py").write_text(TYPED)
    said, failed, _ = api.run(["--no-error-summary", "--no-pretty", str(tmp_path / "typed.py")])
    assert not failed
    errors = [line for line in said.splitlines() if "error" in line]
    assert len(errors) == 2, said
    assert '"limit" has incompatible type "str"' in errors[0]
    assert 'Unexpected keyword argument "idz"' in errors[1]


async def test_a_database_is_opened_by_entering_or_awaiting(tmp_path):
    unopened = AsyncDatabase(tmp_path / "d")
    assert not (tmp_path / "d").exists()
    with pytest.raises(ClosedError, match="not open. Use 'async with"):
        await unopened.list()
    await unopened.close()
    database = await unopened
    assert database is unopened
    assert database.path == tmp_path / "d"
    assert not database.closed
    await database.close()
    await database.close()
    assert database.closed
    with pytest.raises(ClosedError, match="was closed"):
        await database.create("c")


async def test_an_iteration_may_be_left_early(tmp_path):
    async with AsyncDatabase(tmp_path / "d") as database:
        notes = await database.create("notes", 1)
        await notes.add(np.ones((600, 1)), ids=[str(i) for i in range(600)])
        async with contextlib.aclosing(aiter(notes)) as records:
            async for record in records:
                assert record.id == "0"
                break
        assert [record.id async for record in notes] == [str(i) for i in range(600)]


async def longest_stall(work):
    """Run a coroutine; return for how long at most the loop stood still meanwhile."""
    longest, is_done = 0.0, False

    async def beat():
        nonlocal longest
        while not is_done:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    heart = asyncio.create_task(beat())
    await asyncio.sleep(0.02)
    longest = 0.0
    await work
    is_done = True
    await heart
    return longest


async def test_the_loop_goes_on_during_a_large_add(tmp_path):
    rng = random.Random(1)
    vectors = [[rng.random() for _ in range(384)] for _ in range(4000)]
    texts = [f"passage {i} of a book" for i in range(len(vectors))]
    stalls = []
    async with AsyncDatabase(tmp_path / "d") as database:
        for run in range(RUNS):
            notes = await database.create(f"notes{run}")
            metadatas = [{"page": i} for i in range(len(vectors))]
            stalls.append(await longest_stall(notes.add(vectors, texts=texts, metadatas=metadatas)))
            if stalls[-1] < STALL_S:
                break
    print("stalls in ms:", [round(1000 * stall, 1) for stall in stalls])
    assert min(stalls) < STALL_S


@pytest.mark.parametrize(
    "row", [[1.5, 2], (3, 4), [True, False], [2**63, 0], [-1, 2], [1e300, 0]], ids=repr
)
def test_lists_are_converted_in_slices_as_if_whole(row, monkeypatch):
    """Numpy chooses one type for all rows, wherever the odd one stands."""
    rows = [[0.25, i] for i in range(SLICE_NUMBERS)]
    for position in (0, SLICE_NUMBERS // 2, SLICE_NUMBERS - 1):
        rows[position] = row
        try:
            expected = as_vectors(np.asarray(rows), None, "vectors")
        except ValueError as error:
            with pytest.raises(type(error)):
                as_vectors(rows, None, "vectors")
        else:
            assert np.array_equal(as_vectors(rows, None, "vectors"), expected)
        rows[position] = [0.25, position]


@pytest.mark.parametrize(
    ("first", "then"),
    [([1, 2], [0.25, 0.5]), ([0.25, 1], [True, False]), ([True, False], [0.25, 1]),
     ([0.5, 1], ["2.5", "1"]), ([0.5, 1], [1j, 1])],
)  # fmt: skip
def test_slices_of_other_types_are_converted_as_if_whole(first, then):
    rows = [first] * SLICE_NUMBERS + [then] * SLICE_NUMBERS
    whole = np.asarray(rows)
    if whole.dtype.kind not in "fiu":
        with pytest.raises(ValueError, match="expected real numbers"):
            as_vectors(rows, None, "vectors")
    else:
        assert np.array_equal(as_vectors(rows, None, "vectors"), whole.astype(np.float32))


@pytest.mark.parametrize("row", [["a", 1], [None, 1], [1], [1, 2, 3], [[1], [2]], 5, "ab"])
def test_an_odd_row_in_any_slice_is_refused(row):
    rows = [[0.25, i] for i in range(SLICE_NUMBERS)]
    for position in (1, SLICE_NUMBERS // 2, SLICE_NUMBERS - 1):
        rows[position] = row
        with pytest.raises(ValueError, match="vectors"):
            as_vectors(rows, None, "vectors")
        rows[position] = [0.25, position]


@pytest.mark.fault("F10", "writes of tasks cancelled")
@pytest.mark.parametrize("delay_s", [0.0, 0.0005, 0.002, 0.005, 0.01, 0.02])
async def test_a_cancelled_write_is_whole_or_not_there(tmp_path, delay_s):
    async with AsyncDatabase(tmp_path / "d") as database:
        notes = await database.create("notes", 8)
        vectors = np.ones((500, 8))
        for run in range(4):
            writing = asyncio.create_task(
                notes.add(vectors, ids=[f"{run}-{i}" for i in range(500)], metadatas=[{}] * 500)
            )
            await asyncio.sleep(delay_s)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            await notes.upsert([[1.0] * 8], ids=[f"after {run}"])
            ids = set(await notes.ids())
            assert f"after {run}" in ids
            assert sum(id_.startswith(f"{run}-") for id_ in ids) in (0, 500)
    with Database(tmp_path / "d") as again:
        counts = {}
        for id_ in again.open("notes").ids():
            counts.setdefault(id_.rpartition("-")[0], []).append(id_)
        assert all(len(ids) == 500 for run, ids in counts.items() if run)


async def test_a_write_that_waits_for_a_thread_is_not_done_when_cancelled(database):
    notes = await database.create("notes", 1)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    blocking = asyncio.create_task(asyncio.to_thread(time.sleep, 0.1))
    await asyncio.sleep(0.01)
    writing = asyncio.create_task(notes.add([[1]], ids=["x"]))
    await asyncio.sleep(0.01)
    writing.cancel()
    await asyncio.wait([writing, blocking])
    assert writing.cancelled()
    assert await notes.ids() == []


async def test_cancelling_the_opening_gives_the_lock_back(tmp_path):
    for trial, delay_s in enumerate([0.0, 0.001, 0.005, 0.02]):
        folder = tmp_path / str(trial)
        opening = asyncio.create_task(AsyncDatabase(folder).__aenter__())
        await asyncio.sleep(delay_s)
        opening.cancel()
        await asyncio.wait([opening])
        if not opening.cancelled():
            await opening.result().close()
        for _ in range(500):
            await asyncio.sleep(0.01)
            if folder.resolve() not in lock._held:
                break
        assert folder.resolve() not in lock._held


async def test_waiting_for_another_writer_does_not_stop_the_loop(tmp_path):
    import filelock

    async with AsyncDatabase(tmp_path / "d") as database:
        await database.create("c", 1)
    with filelock.FileLock(tmp_path / "d" / "LOCK"):
        async with AsyncDatabase(tmp_path / "d", lock_timeout_s=0.3) as database:
            c = await database.open("c")
            began = time.perf_counter()
            with pytest.raises(WriterLockedError):
                assert await longest_stall(c.add([[1]])) < 0.25
            assert time.perf_counter() - began >= 0.3


async def test_two_hundred_tasks_at_once(database, fault_table):
    notes = await database.create("notes", 4)
    rng = np.random.default_rng(7)
    vectors = rng.normal(size=(200, 4)).astype(np.float32)

    async def task(number):
        mine = {"task": number}
        await notes.add(vectors[number : number + 1], ids=[f"{number}"], metadatas=[mine])
        assert [h.id for h in await notes.search(vectors[number], 1, where=mine)] == [f"{number}"]
        await notes.update([f"{number}"], [{"seen": True}])
        (record,) = await notes.get([f"{number}"], include_vectors=True)
        assert record.metadata == {"task": number, "seen": True}
        assert np.array_equal(record.vector, vectors[number])
        if number % 3 == 0:
            assert await notes.delete([f"{number}"]) == 1

    await asyncio.gather(*(task(number) for number in range(200)))
    assert set(await notes.ids()) == {f"{n}" for n in range(200) if n % 3}
    assert await notes.count({"seen": True}) == sum(n % 3 > 0 for n in range(200))
    fault_table.add("F10", "tasks of asyncio at once", 200, 7, differences=0)


async def test_tasks_that_open_one_object_share_the_database(tmp_path):
    for trial in range(5):
        folder = tmp_path / str(trial)
        database = AsyncDatabase(folder)

        async def opened(database=database):
            return await database

        assert await asyncio.gather(*(opened() for _ in range(4))) == [database] * 4
        await database.create("c", 1)
        await database.close()
        assert folder.resolve() not in lock._held


async def test_closing_waits_for_an_opening_and_for_upkeep(tmp_path):
    database = AsyncDatabase(tmp_path / "db")
    opening = asyncio.ensure_future(database.__aenter__())
    await asyncio.sleep(0)
    await database.close()
    await opening
    with pytest.raises(ClosedError):
        await database.list()


def test_loops_that_open_one_object_at_once_share_the_database(tmp_path):
    """Four threads with a loop each, one of which gives up."""
    for trial in range(10):
        database, made = AsyncDatabase(tmp_path / str(trial)), []
        make, start = database._shared._make, threading.Barrier(4)

        def make_one(make=make, made=made):
            made.append(make())
            return made[-1]

        async def opened(is_giving_up, database=database, start=start):
            start.wait()
            opening = asyncio.ensure_future(database.__aenter__())
            if is_giving_up:
                await asyncio.sleep(0)
                opening.cancel()
                await asyncio.wait([opening])
            else:
                await (await opening).list()

        database._shared._make = make_one
        with ThreadPoolExecutor(4) as threads:
            loops = [threads.submit(asyncio.run, opened(number == 0)) for number in range(4)]
            for loop in loops:
                loop.result(60)
        assert not database.closed
        assert [one.closed for one in made if one is not database.sync] == [True] * (len(made) - 1)
        asyncio.run(database.close())
        assert made[-1].closed


def test_an_object_may_be_used_in_one_loop_after_another(tmp_path):
    database = AsyncDatabase(tmp_path / "db")

    async def opened():
        return await database

    async def open_at_once():
        await asyncio.gather(*(opened() for _ in range(3)))

    async def close_at_once():
        await asyncio.gather(database.close(), database.close())

    asyncio.run(open_at_once())
    asyncio.run(close_at_once())
