"""Vector stores: the append plan, the file format, and damage that is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m_rag.errors import CorruptError, FormatError
from m2m_rag.storage.vectors import DiskVectors, MemoryVectors
from m2m_rag.storage.vectors.base import Layout
from m2m_rag.storage.vectors.disk import plan_append
from m2m_rag.storage.vectors.format import HEADER_BYTES

COLLECTION = bytes(range(16))


class Committed:
    """Plays the catalog: keeps what the store asked to commit, all commits or a prefix."""

    def __init__(self) -> None:
        self.files: dict = {}
        self.blocks: dict = {}

    def commit(self, files, blocks):
        self.files.update({file.number: file for file in files})
        self.blocks.update({(block.file, block.block): block for block in blocks})

    def layout(self):
        def checksums(file, first, last):
            return {
                b: self.blocks[f, b] for f, b in self.blocks if f == file and first <= b <= last
            }

        return Layout([self.files[number] for number in sorted(self.files)], checksums)


def disk(tmp_path, dimension=3, max_file_bytes=HEADER_BYTES + 400):
    return DiskVectors(tmp_path / "vectors", dimension, COLLECTION, 1, max_file_bytes)


def everything(store, layout):
    return np.concatenate(
        [np.empty((0, store.dimension)), *(s.vectors for s in store.segments(layout))]
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(batches=st.lists(st.integers(1, 40), max_size=8), capacity=st.integers(1, 17))
def test_the_plan_places_every_row_once(batches, capacity):
    files: list = []
    total = 0
    for n in batches:
        pieces = plan_append(files, n, capacity, 1)
        assert pieces[0].start == 0
        assert pieces[-1].stop == n
        for piece in pieces:
            assert piece.file.first_row + piece.file.rows == total
            assert piece.is_new is (piece.file.rows == 0)
            total += piece.stop - piece.start
            grown = piece.file._replace(rows=piece.file.rows + piece.stop - piece.start)
            assert grown.rows <= capacity
            files = [f for f in files if f.number != grown.number] + [grown]
    assert sum(file.rows for file in files) == sum(batches)


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_rows_come_back_over_many_appends(tmp_path, kind):
    rng = np.random.default_rng(0)
    store = disk(tmp_path) if kind == "disk" else MemoryVectors(3)
    committed, expected = Committed(), np.empty((0, 3), np.float32)
    for n in (1, 5, 33, 2, 70, 1):
        batch = rng.normal(size=(n, 3)).astype(np.float32)
        committed.commit(*store.append(committed.layout(), batch))
        expected = np.concatenate([expected, batch])
        assert everything(store, committed.layout()).tobytes() == expected.astype(float).tobytes()
        wanted = rng.integers(len(expected), size=20)
        assert (store.rows(committed.layout(), wanted) == expected[wanted]).all()
    if kind == "disk":
        assert len(committed.files) > 1
        reopened = disk(tmp_path)
        assert (everything(reopened, committed.layout()) == expected).all()
    store.close()


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_an_append_that_was_not_committed_leaves_nothing(tmp_path, kind):
    store = disk(tmp_path) if kind == "disk" else MemoryVectors(3)
    committed = Committed()
    first, second = np.full((5, 3), 1, np.float32), np.full((4, 3), 2, np.float32)
    committed.commit(*store.append(committed.layout(), first))
    store.append(committed.layout(), np.full((90, 3), 9, np.float32))
    committed.commit(*store.append(committed.layout(), second))
    assert (everything(store, committed.layout()) == np.concatenate([first, second])).all()


def test_an_append_that_was_read_and_undone_leaves_nothing(tmp_path):
    """The next append read its rows, so they were verified; those in their place are not."""
    store, committed, undone = disk(tmp_path, max_file_bytes=1 << 20), Committed(), Committed()
    for played in (committed, undone):
        played.commit(*store.append(Committed().layout(), np.full((5, 3), 1, np.float32)))
    store.sync()
    undone.commit(*store.append(undone.layout(), np.full((4, 3), 2, np.float32)))
    store.append(undone.layout(), np.full((4, 3), 3, np.float32))
    store.undo()
    committed.commit(*store.append(committed.layout(), np.full((4, 3), 4, np.float32)))
    store.sync()
    (path,) = (tmp_path / "vectors").iterdir()
    damaged = bytearray(path.read_bytes())
    damaged[HEADER_BYTES + 6 * 12] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptError, match="checksum"):
        store.rows(committed.layout(), np.array([6]))


def test_a_new_file_of_an_undone_append_begins_anew(tmp_path):
    store, committed, undone = disk(tmp_path), Committed(), Committed()
    first = np.full((33, 3), 1, np.float32)  # a full file
    for played in (committed, undone):
        played.commit(*store.append(Committed().layout(), first))
    undone.commit(*store.append(undone.layout(), np.full((30, 3), 2, np.float32)))
    undone.commit(*store.append(undone.layout(), np.full((2, 3), 3, np.float32)))
    second = np.full((3, 3), 4, np.float32)
    store.append(committed.layout(), second)  # the body alone was undone
    store.undo()  # the group was
    committed.commit(*store.append(committed.layout(), second))
    store.sync()
    assert (everything(store, committed.layout()) == np.concatenate([first, second])).all()
    assert (tmp_path / "vectors" / "1-1.f32").stat().st_size == HEADER_BYTES + second.nbytes
    assert (everything(disk(tmp_path), committed.layout()) == np.concatenate([first, second])).all()


def test_rows_that_are_not_there_are_not_made_up(tmp_path):
    store, committed = disk(tmp_path), Committed()
    committed.commit(*store.append(committed.layout(), np.ones((5, 3), np.float32)))
    for rows in ([5], [0, 99], [-1]):
        with pytest.raises(CorruptError, match="do not hold"):
            store.rows(committed.layout(), np.array(rows))


def test_an_older_snapshot_still_reads(tmp_path):
    store, committed = disk(tmp_path), Committed()
    committed.commit(*store.append(committed.layout(), np.ones((5, 3), np.float32)))
    files, blocks = dict(committed.files), dict(committed.blocks)
    committed.commit(*store.append(committed.layout(), np.zeros((50, 3), np.float32)))
    assert len(everything(store, committed.layout())) == 55
    committed.files, committed.blocks = files, blocks
    assert len(everything(store, committed.layout())) == 5


def test_segments_cannot_be_written_through(tmp_path):
    store, committed = disk(tmp_path), Committed()
    committed.commit(*store.append(committed.layout(), np.ones((2, 3), np.float32)))
    with pytest.raises(ValueError, match="read-only"):
        store.segments(committed.layout())[0].vectors[0, 0] = 5


def test_every_flipped_bit_is_noticed(tmp_path):
    """Each byte of the header and of the committed rows matters; bytes behind them do not."""
    store, committed = disk(tmp_path, max_file_bytes=1 << 20), Committed()
    rows = np.arange(30, dtype=np.float32).reshape(10, 3)
    committed.commit(*store.append(committed.layout(), rows))
    store.append(committed.layout(), np.ones((3, 3), np.float32))  # never committed
    (path,) = (tmp_path / "vectors").iterdir()
    good = path.read_bytes()
    rng = np.random.default_rng(1)
    used = HEADER_BYTES + rows.nbytes
    for offset in [*range(64), *rng.integers(64, used, size=200), used - 1]:
        damaged = bytearray(good)
        damaged[offset] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises((CorruptError, FormatError)):
            everything(disk(tmp_path, max_file_bytes=1 << 20), committed.layout())
        fresh = disk(tmp_path, max_file_bytes=1 << 20)
        with pytest.raises((CorruptError, FormatError)):
            fresh.append(committed.layout(), rows)
    path.write_bytes(good[:used] + bytes(len(good) - used))
    assert (everything(disk(tmp_path), committed.layout()) == rows).all()


def test_a_cut_missing_or_foreign_file_is_named(tmp_path):
    store, committed = disk(tmp_path), Committed()
    committed.commit(*store.append(committed.layout(), np.ones((10, 3), np.float32)))
    (path,) = (tmp_path / "vectors").iterdir()
    good = path.read_bytes()
    path.write_bytes(good[:-4])
    with pytest.raises(CorruptError, match="cut off: 9 rows"):
        disk(tmp_path).segments(committed.layout())
    path.write_bytes(b"PK" + good[2:])
    with pytest.raises(FormatError, match="not a vector file"):
        disk(tmp_path).segments(committed.layout())
    path.write_bytes(good)
    other = DiskVectors(tmp_path / "vectors", 3, bytes(16), 1)
    with pytest.raises(CorruptError, match="belongs elsewhere"):
        other.segments(committed.layout())
    path.unlink()
    with pytest.raises(CorruptError, match="missing"):
        disk(tmp_path).segments(committed.layout())
