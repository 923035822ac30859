"""Snapshots: what is loaded is what was saved, a damaged file is refused, growth goes on."""

from __future__ import annotations

import numpy as np
import pytest
from clustered_data import clustered

from m2m_rag._types import Segment
from m2m_rag.compute import get_backend
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


def load(path, index, owner=OWNER):
    loaded = snapshots.load(path, index.settings, owner, get_backend("numba"))
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


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("centroid_slots", lambda a: a + 10**6),
        ("centroid_slots", lambda a: np.full_like(a, -1)),
        ("centroid_slots", lambda a: np.where(a == a.max(), np.int32(-2), a)),
        ("order", lambda a: a + 1),
        ("order", lambda a: a.astype(np.int64)),
        ("coarse_first", lambda a: a[::-1].copy()),
        ("coarse_first", lambda a: np.zeros_like(a)),
        ("coarse_first", lambda a: a * 2),
        ("fine", lambda a: a[:-1]),
        ("facts", lambda a: a[:, :-1]),
        ("center", lambda a: a[:-1]),
        ("coarse", lambda a: a[:, :-64]),
        ("centroid_blocks", lambda a: a[:, :-64]),
        ("dimension", lambda d: d + 1),
        ("dimension", lambda d: 1 << 40),
    ],
)
def test_numbers_that_lead_elsewhere_are_refused(built, tmp_path, name, change):
    """The checksums are right: whoever wrote the file meant it."""
    index, _ = built
    state = index.state
    clusters = state.clusters._replace(**{name: change(getattr(state.clusters, name))})
    path = snapshots.save(state._replace(clusters=clusters), index.settings, OWNER, tmp_path)
    snapshots.check(path)
    with pytest.raises(CorruptError):
        load(path, index)


def test_other_states_that_lead_elsewhere_are_refused(built, tmp_path):
    index, _ = built
    state = index.state
    for other in (
        state._replace(coarse_of=state.coarse_of + 10**6),
        state._replace(coarse_of=state.coarse_of[:-1]),
        state._replace(limits=state.limits[:-1]),
    ):
        path = snapshots.save(other, index.settings, OWNER, tmp_path)
        with pytest.raises(CorruptError):
            load(path, index)


def test_a_link_is_no_snapshot(built, tmp_path):
    index, _ = built
    path = snapshots.save(index.state, index.settings, OWNER, tmp_path)
    (tmp_path / ("9" * 12 + "-ab.hrm2")).symlink_to(path)
    assert snapshots.newest(tmp_path) == [path]
