"""Backing up and restoring, for power loss: the load, what it leaves, and the check of a state.

The database has sealed vector files and a saved index, which a backup links; they are small.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import fault_load
from fault_load import MAIN, Load, State, difference, read, say
from upkeep_load import INDEX_FROM, check_answers, use_small_sizes, writes

from m2m_rag import Database
from m2m_rag.errors import M2MError


class Room(NamedTuple):
    """A database and, by their folders' names, its backups and what was restored from them."""

    live: State
    made: dict[str, State]


def prepare(path: str, seed: int) -> None:
    """Make the database that is backed up: with sealed vector files, a saved index, dead rows."""
    use_small_sizes()
    load = Load(path)
    for step in writes(seed, INDEX_FROM, 3):
        step.act(load)
        load.database.open(MAIN).wait_for_index()
    load.database.close()


def back_up(path: str, seed: int, n: int) -> None:
    """In turn write to ``path/db``, back it up beside it, and restore that backup."""
    load = Load(f"{path}/db")
    state = read(load.database)
    for number in range(n):
        kind, name = _turn(number)
        if kind == "write":
            step = _write(seed, number, state)
            step.act(load)
            state = step.after
        elif kind == "backup":
            load.database.backup(f"{path}/{name}")
        else:
            Database.restore(f"{path}/{_turn(number - 1)[1]}", f"{path}/{name}").close()
        say(number)
    load.database.close()


def rooms(seed: int, n: int, state: State) -> list[Room]:
    """Return what is there before `back_up` and after each of its n steps."""
    found = [Room(state, {})]
    for number in range(n):
        live, made = found[-1]
        kind, name = _turn(number)
        if kind == "write":
            found.append(Room(_write(seed, number, live).after, made))
        else:
            found.append(Room(live, {**made, name: live}))
    return found


def check_room(path: Path, allowed: list[Room]) -> int:
    """Check a database and all its backups; return how many unfinished ones there were.

    An unfinished one is refused, or it is whole, and whoever makes it again removes it.
    """
    before, after = allowed[0], allowed[-1]
    names = {item.name for item in path.iterdir()} - {"db"}
    left = {name for name in names if name.endswith(".new")}
    whole = names - left
    assert set(before.made) <= whole <= set(after.made), (sorted(names), sorted(after.made))
    for name in sorted(whole):
        check_whole(path / name, after.made[name])
    for name in sorted(left):
        target = name.rsplit(".", 2)[0]
        assert target in after.made
        assert target not in whole, f"{name} was renamed and is still there"
        _check_unfinished(path / name, after.made[target])
    fault_load.check(path / "db", [room.live for room in allowed], most_probes=3)
    for target in {name.rsplit(".", 2)[0] for name in left}:
        _make_again(path, target, after.made)
    assert not list(path.glob("*.new")), "what was left of it is still there"
    return len(left)


def check_whole(path: Path, state: State) -> None:
    """Check a backup that has its name: it holds just that, and nothing is wrong with it."""
    with Database(path, read_only=True) as database:
        assert database.verify().findings == []
        found = read(database)
        assert found == state, difference(found, [state])
        check_answers(database.open(MAIN), found[MAIN])


def _check_unfinished(path: Path, state: State) -> None:
    """Check that a backup without its name is not taken for whole unless it is."""
    try:
        with Database(path, read_only=True) as database:
            is_sound = database.verify().is_sound
            found = read(database)
    except M2MError:
        return
    assert not is_sound or found == state, difference(found, [state])


def _make_again(path: Path, target: str, made: dict[str, State]) -> None:
    """Do once more what was interrupted."""
    if target.startswith("backup"):
        with Database(path / "db") as database:
            database.backup(path / target)
            now = read(database)
        check_whole(path / target, now)
    else:
        number = int(target.rpartition("-")[2])
        Database.restore(path / _turn(number - 1)[1], path / target).close()
        check_whole(path / target, made[target])


def _turn(number: int) -> tuple[str, str]:
    """Return what kind of step `back_up` does, and the folder that comes of it."""
    kind = ("write", "backup", "restore")[number % 3]
    return kind, f"{kind}-{number}"


def _write(seed: int, number: int, state: State) -> fault_load.Step:
    rng = random.Random(f"{seed}/{number}")
    operations = [fault_load.add, fault_load.upsert, fault_load.update, fault_load.delete]
    return rng.choice(operations)(rng, number, state)
