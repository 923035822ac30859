"""Snapshots: what is loaded is what was saved, a damaged file is refused, growth goes on."""

from __future__ import annotations

import os
import stat
from dataclasses import replace

import numpy as np
import pytest
from clustered_data import clustered

from m2m_rag._types import Segment
from m2m_rag.compute import get_backend
from m2m_rag.compute.clustered import FACT
from m2m_rag.errors import CorruptError
from m2m_rag.index import HRM2Index
from m2m_rag.index.hrm2 import snapshots

OWNER = {"collection": "ab", "generation": 1, "dimension": 40}


@pytest.fixture(scope="module")
def built():
    vectors = clustered(2048, 40)
    index = HRM2Index(get_backend("numba"), "cosine")
    segments = [Segment(0, vectors)]
    index.build(segments)
    return index, segments


def load(path, index, owner=OWNER, n_rows=2048):
    loaded = snapshots.load(path, index.settings, owner, n_rows, get_backend("numba"))
    return loaded and loaded.state


def test_what_is_loaded_is_what_was_saved(built, tmp_path):
    index, segments = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    assert snapshots.newest(tmp_path) == [path]
    other = HRM2Index(get_backend("numba"), "cosine")
    other.put(load(path, index))
    queries = segments[0].vectors[:50] + np.float32(0.01)
    for lod in (0, 1, 2):
        one, two = (each.search(queries, 10, segments, lod=lod) for each in (index, other))
        assert [a.tolist() for a in one[0]] == [b.tolist() for b in two[0]]
        assert [a.tolist() for a in one[1]] == [b.tolist() for b in two[1]]
    assert other.state.curve == index.state.curve
    for name in ("coarse", "coarse_first", "centroid_blocks", "centroid_slots"):
        one, two = (getattr(each.state.clusters, name) for each in (index, other))
        assert one.tobytes() == two.tobytes(), name


def test_growth_goes_on_from_a_map(built, tmp_path):
    index, segments = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    before = path.read_bytes()
    other = HRM2Index(get_backend("numba"), "cosine")
    other.put(load(path, index))
    vectors = np.concatenate([segments[0].vectors, clustered(1024, 40, seed=7)])
    grown = [Segment(0, vectors)]
    alive = np.ones(len(vectors), bool)
    alive[:400] = False
    assert other.extend(grown, alive)
    rows, _ = other.search(vectors[-20:], 1, grown, alive)
    assert [r[0] for r in rows] == list(range(len(vectors) - 20, len(vectors)))
    assert path.read_bytes() == before


def test_another_owner_or_other_settings_do_not_fit(built, tmp_path):
    index, _ = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    assert load(path, index, {**OWNER, "generation": 2}) is None
    assert load(path, index, n_rows=2047) is None
    other = HRM2Index(get_backend("numba"), "l2")
    assert load(path, other) is None


def test_every_flipped_byte_is_found(built, tmp_path):
    index, _ = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in [0, 9, 13, 17, 30, *rng.integers(len(good), size=60).tolist()]:
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            state = load(path, index)
        except CorruptError:
            continue
        if state is None:
            assert 8 <= at < 12, "only another version may be left alone"
            continue
        padding = at  # bytes between the arrays are never read
        assert good[padding] == 0


def test_a_cut_file_is_refused(built, tmp_path):
    index, _ = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    good = path.read_bytes()
    for size in (0, 5, 24, 100, len(good) // 2):
        path.write_bytes(good[:size])
        with pytest.raises(CorruptError):
            load(path, index)


def _set(at, value):
    def change(array):
        array = array.copy()
        array[at] = value
        return array

    return change


ARRAYS = [
    ("signs", _set((0, 0), np.nan)),
    ("signs", lambda a: a * 2.0),
    ("order", lambda a: a + 1),
    ("order", _set((0, 0), 1)),
    ("fine", lambda a: a[:-1]),
    ("facts", lambda a: a[:, :-1]),
    ("facts", _set((FACT.width, 3), np.inf)),
    ("facts", _set((FACT.key_scale, 3), 3e38)),
    ("facts", _set((FACT.norm2, 3), 0.0)),
    ("facts", _set((FACT.share, 3), -1.0)),
    ("center", lambda a: a[:-1]),
    ("center", _set(0, np.nan)),
    ("dimension", lambda d: d + 1),
    ("dimension", lambda d: 1 << 40),
    ("dimension", lambda d: float(d)),
    ("spread", lambda _: float("nan")),
    ("reach", lambda _: "far"),
    ("reach", lambda _: float("inf")),
    ("coarse_of", lambda a: a + 10**6),
    ("coarse_of", lambda a: a[:-1]),
    ("coarse_of", lambda a: a[::-1].copy()),
    ("coarse_of", _set(0, -1)),
    ("limits", lambda a: a[:-1]),
    ("limits", lambda a: a * 0),
    ("n_indexed", lambda n: n - 1),
    ("n_indexed", lambda n: True),
    ("n_built", lambda n: 0),
    ("n_built", lambda n: n + 1),
    ("n_purged", lambda n: -1),
    ("curve", lambda c: c._replace(n_fine=-1)),
    ("curve", lambda c: c._replace(n_seen=0.5)),
    ("curve", lambda c: c._replace(points=[c.points[0]._replace(clusters=0.0)])),
    ("curve", lambda c: c._replace(points=[c.points[0]._replace(recall=float("nan"))])),
    ("curve", lambda c: c._replace(points=[c.points[0]._replace(epsilon=7.0)])),
    ("curve", lambda c: c._replace(points=[c.points[0][:3]])),
    ("curve", lambda c: c._replace(points=[c.points[0]._replace(k=1), *c.points])),
]


@pytest.mark.parametrize(
    ("name", "change"), ARRAYS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ARRAYS)]
)
def test_numbers_that_lead_elsewhere_are_refused(built, tmp_path, name, change):
    """The checksums are right: whoever wrote the file meant it."""
    index, _ = built
    state = index.state
    if name in state._fields:
        state = state._replace(**{name: change(getattr(state, name))})
    else:
        clusters = state.clusters._replace(**{name: change(getattr(state.clusters, name))})
        state = state._replace(clusters=clusters)
    path = snapshots.save(state, index.settings, OWNER, tmp_path)
    snapshots.check(path)
    with pytest.raises(CorruptError):
        load(path, index)


@pytest.mark.parametrize(
    "change",
    [_set(0, -1), _set(0, 2048), lambda rows: np.repeat(rows[::2], 2)],
    ids=["negative", "beyond", "twice"],
)
def test_rows_that_there_are_not_are_refused(built, tmp_path, change):
    index, _ = built
    cells = index.state.clusters.cells
    other = replace(cells, arenas=[(cells.arenas[0][0], change(cells.arenas[0][1]))])
    clusters = index.state.clusters._replace(cells=other)
    path = snapshots.save(index.state._replace(clusters=clusters), index.settings, OWNER, tmp_path)
    snapshots.check(path)
    with pytest.raises(CorruptError, match="'rows'"):
        load(path, index)


def test_an_array_of_another_type_is_refused(built, tmp_path):
    index, _ = built
    clusters = index.state.clusters
    other = index.state._replace(clusters=clusters._replace(order=clusters.order.astype(np.int64)))
    path = snapshots.save(other, index.settings, OWNER, tmp_path)
    for reading in (snapshots.check, lambda path: load(path, index)):
        with pytest.raises(CorruptError, match="'order' is no array"):
            reading(path)


def test_it_is_its_owners_alone(built, tmp_path):
    index, _ = built
    old = os.umask(0)
    try:
        path = snapshots.save(index.state, index.settings, OWNER, tmp_path / "index" / "1")
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent, path.parent.parent)]
    assert modes == [0o600, 0o700, 0o700]


def test_a_link_is_no_snapshot(built, tmp_path):
    index, _ = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    (tmp_path / ("9" * 12 + "-ab.hrm2")).symlink_to(path)
    assert snapshots.newest(tmp_path) == [path]
