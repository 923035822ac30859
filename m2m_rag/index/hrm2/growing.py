"""Growing the index: rows come to their cluster, full clusters split, dead rows go, small ones end.

Rows are taken in groups of `GROUP` by row number, and clusters are looked at after each group, so
that the index depends on the rows and not on how they came in batches. A group costs one product
with the centroids and as many codes. No step moves more than the clusters it is about, but for the
arrays of one entry a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from m2m_rag._types import FloatArray, MaskArray, RowArray, Segment
from m2m_rag.clustering import KMeans
from m2m_rag.compute.clustered import (
    LANES,
    Cells,
    Clusters,
    Codes,
    NumberArray,
    empty_blocks,
    put_codes,
)
from m2m_rag.index.hrm2.centroids import code_centroids, describe, note_codes
from m2m_rag.index.hrm2.reading import take
from m2m_rag.index.hrm2.state import BuildBackend, State, centroids_of
from m2m_rag.quantization import code

GROUP = 64
"""Rows taken at a time; fewer wait, and searches read them one by one (2 µs)."""
SPLIT_SIZE, SPLIT_GROWTH = 3.0, 2.0
"""A cluster splits above so many times the mean size, or the size that it was built with."""
MERGE_SIZE = 0.1
"""A cluster with fewer rows than this times the mean size gives them to its neighbours."""
ROOM = 1.25
"""A cluster that outgrows its place gets this many times what it needs."""
WASTE = 0.3
"""Share of the arenas' blocks that no cluster uses, above which all move into one arena."""
SPLIT_PASSES = 8


def limits_of(sizes: NumberArray, mean: float) -> NumberArray:
    """Return the size above which each cluster is split."""
    limits: NumberArray = np.maximum(SPLIT_SIZE * mean, SPLIT_GROWTH * sizes).astype(np.int32)
    return np.maximum(limits, 2 * LANES)


def extend(
    state: State, segments: Sequence[Segment], stop: int, alive: MaskArray | None, seed: int,
    backend: BuildBackend, check: Callable[[], None] = lambda: None,
) -> State:  # fmt: skip
    """Take in the rows from `n_indexed` to the end of the last whole group below `stop`.

    `alive` has one bool a row; dead rows are left out.
    """
    while (last := state.n_indexed - state.n_indexed % GROUP + GROUP) <= stop:
        check()
        rows = np.arange(state.n_indexed, last)
        state = insert(state, segments, rows if alive is None else rows[alive[rows]], backend)
        state = state._replace(n_indexed=last)
        while (is_full := state.clusters.sizes > state.limits).any():
            state = split(state, segments, int(np.argmax(is_full)), seed, backend)
    return state


def insert(
    state: State,
    segments: Sequence[Segment],
    rows: RowArray,
    backend: BuildBackend,
    *,
    is_known: bool = False,
) -> State:
    """Code rows and put each into the cluster with the nearest centroid.

    Rows that older states know already (`is_known`) go to memory that these do not read.
    """
    if not len(rows):
        return state
    clusters, space = state.clusters, state.space
    entered = space.enter(take(segments, rows), backend)
    rotated = space.rotate(entered, backend)
    labels = backend.assign(rotated, centroids_of(clusters))
    longest = float(np.sqrt(backend.squared_norms(entered).max()))
    if longest > clusters.reach:
        clusters = clusters._replace(reach=longest)
    clusters = _put(clusters, rotated, rows, labels, backend, is_known)
    return state._replace(clusters=clusters, packed=backend.pack(clusters))


def split(
    state: State, segments: Sequence[Segment], number: int, seed: int, backend: BuildBackend
) -> State:
    """Make two clusters of one; one whose rows cannot be told apart gets a higher limit."""
    rows = _rows_of(state.clusters, number)
    space = state.space
    entered = space.enter(take(segments, rows), backend)
    halves = KMeans(
        2, backend, max_iter=SPLIT_PASSES, random_state=seed + number, sample_only=True,
        spherical=space.metric != "l2",
    ).fit(entered)  # fmt: skip
    sizes = np.bincount(halves.labels_, minlength=2)
    if sizes.min() == 0:
        limits = state.limits.copy()
        limits[number] = 2 * len(rows)
        return state._replace(limits=limits)
    norms = np.sqrt(backend.squared_norms(entered))
    lengths = np.bincount(halves.labels_, norms, minlength=2) / sizes
    levels, facts = describe(halves.centroids_, lengths, space, backend)
    coarse = int(state.coarse_of[number])
    without = _remove(state, [number])
    at = int(np.searchsorted(without.coarse_of, coarse, side="right"))
    larger = _add(without, at, levels, facts, coarse)
    clusters = _put(
        larger.clusters, space.rotate(entered, backend), rows, at + halves.labels_, backend
    )
    limits = larger.limits.copy()
    limits[at : at + 2] = limits_of(sizes.astype(np.int32), state.mean_size)
    return _recoded(larger._replace(clusters=clusters, limits=limits), backend)


def purge(
    state: State, segments: Sequence[Segment], alive: MaskArray, n_dead: int, backend: BuildBackend
) -> State:
    """Take dead rows out of all clusters, and end clusters that are left with few."""
    clusters = state.clusters
    all_rows = [_rows_of(clusters, number) for number in range(len(clusters.fine))]
    kept = [rows[alive[rows]] for rows in all_rows]
    sizes = np.array([len(rows) for rows in kept])
    changed = np.flatnonzero(sizes < clusters.sizes)
    small = sizes < MERGE_SIZE * state.mean_size
    if small.all():
        small[np.argmax(sizes)] = False
    cells, count = clusters.cells, clusters.sizes.copy()
    arena = max(1, sum(-(-int(sizes[number]) // LANES) for number in changed))
    blocks = empty_blocks(arena, cells.arenas[0][0].shape[1] // (8 * LANES) - 1)
    lanes = np.full(LANES * arena, -1, dtype=np.int32)
    owner, start, capacity = cells.arena.copy(), cells.start.copy(), cells.capacity.copy()
    first = 0
    for number in changed.tolist():
        n_blocks = -(-int(sizes[number]) // LANES)
        places = np.flatnonzero(alive[all_rows[number]])
        _copy_lanes(cells.codes(number), places, blocks[first : first + n_blocks])
        lanes[LANES * first : LANES * first + len(places)] = kept[number]
        owner[number], start[number] = len(cells.arenas), first
        capacity[number], count[number] = n_blocks, len(places)
        first += n_blocks
    purged = clusters._replace(
        cells=Cells([*cells.arenas, (blocks, lanes)], owner, start, capacity), sizes=count
    )
    state = state._replace(clusters=purged, n_purged=n_dead)
    homeless = [kept[number] for number in np.flatnonzero(small).tolist()]
    state = _remove(state, np.flatnonzero(small).tolist())
    state = state._replace(clusters=_tidied(state.clusters))
    state = _recoded(state, backend)
    rows = np.sort(np.concatenate([np.empty(0, np.int64), *homeless])).astype(np.int64)
    return insert(state, segments, rows, backend, is_known=True)


def _rows_of(clusters: Clusters, number: int) -> RowArray:
    """Return a cluster's rows as int64."""
    return clusters.cells.rows(number)[: clusters.sizes[number]].astype(np.int64)


def _put(
    clusters: Clusters,
    rotated: FloatArray,
    rows: RowArray,
    labels: RowArray,
    backend: BuildBackend,
    is_known: bool = False,
) -> Clusters:
    """Append codes to clusters, in the order of rows; older states do not see them."""
    codes, offset = code(rotated, centroids_of(clusters), labels, clusters.metric, backend)
    counts = np.bincount(labels, minlength=len(clusters.fine))
    sizes = (clusters.sizes + counts).astype(np.int32)
    facts = clusters.facts.copy()
    note_codes(facts, clusters.sizes, codes, offset, labels, clusters.metric)
    cells = _with_room(clusters, sizes, is_known)
    for number in np.flatnonzero(counts).tolist():
        mine = np.flatnonzero(labels == number)
        places = clusters.sizes[number] + np.arange(len(mine))
        cells.rows(number)[places] = rows[mine]
        part = Codes(
            codes.words[mine],
            codes.scale[mine],
            codes.inner[mine],
            codes.turned[mine],
            codes.share[mine],
        )
        put_codes(cells.codes(number), places, part, offset[mine])
        end = int(sizes[number])  # what an attempt that failed may have left behind goes
        cells.rows(number)[end : LANES * -(-end // LANES)] = -1
    return _tidied(clusters._replace(cells=cells, sizes=sizes, facts=facts))


def _with_room(clusters: Clusters, wanted: NumberArray, is_known: bool) -> Cells:
    """Move the clusters that grow where they would outgrow their place or cannot be written to."""
    cells = clusters.cells
    is_fixed = np.array([is_known or not blocks.flags.writeable for blocks, _ in cells.arenas])
    grows = wanted > clusters.sizes
    moved = np.flatnonzero(grows & ((wanted > LANES * cells.capacity) | is_fixed[cells.arena]))
    if not len(moved):
        return cells
    owner, start, capacity = cells.arena.copy(), cells.start.copy(), cells.capacity.copy()
    n_blocks = np.ceil(ROOM * wanted[moved] / LANES).astype(np.int32)
    first = np.cumsum(n_blocks) - n_blocks
    n_words = cells.arenas[0][0].shape[1] // (8 * LANES) - 1
    blocks = empty_blocks(int(n_blocks.sum()), n_words)
    lanes = np.full(LANES * len(blocks), -1, dtype=np.int32)
    for number, at, room in zip(moved.tolist(), first.tolist(), n_blocks.tolist(), strict=True):
        used = min(int(cells.capacity[number]), room)
        blocks[at : at + used] = cells.codes(number)[:used]
        lanes[LANES * at : LANES * (at + used)] = cells.rows(number)[: LANES * used]
        owner[number], start[number], capacity[number] = len(cells.arenas), at, room
    return Cells([*cells.arenas, (blocks, lanes)], owner, start, capacity)


def _tidied(clusters: Clusters) -> Clusters:
    """Move all clusters into one arena when too much of the arenas lies unused."""
    cells = clusters.cells
    total = sum(len(blocks) for blocks, _ in cells.arenas)
    if total <= (1.0 + WASTE) * int(cells.capacity.sum()) + 64:
        return clusters
    first = (np.cumsum(cells.capacity) - cells.capacity).astype(np.int32)
    n_fine = len(cells.capacity)
    blocks = np.concatenate([cells.codes(number) for number in range(n_fine)])
    lanes = np.concatenate([cells.rows(number) for number in range(n_fine)])
    return clusters._replace(
        cells=Cells([(blocks, lanes)], np.zeros(n_fine, np.int32), first, cells.capacity)
    )


def _copy_lanes(codes: NDArray[np.uint8], places: RowArray, out: NDArray[np.uint8]) -> None:
    """Copy the codes at some lanes to the first lanes of `out`."""
    n_words = codes.shape[1] // (8 * LANES) - 1
    split_at = 8 * LANES * n_words
    old = codes[:, :split_at].view(np.uint64).reshape(-1, n_words, LANES)
    new = out[:, :split_at].view(np.uint64).reshape(-1, n_words, LANES)
    to = np.arange(len(places))
    new[to // LANES, :, to % LANES] = old[places // LANES, :, places % LANES]
    old_floats, new_floats = (
        codes[:, split_at:].view(np.float32),
        out[:, split_at:].view(np.float32),
    )
    for half in (0, LANES):
        new_floats[to // LANES, half + to % LANES] = old_floats[
            places // LANES, half + places % LANES
        ]


def _remove(state: State, numbers: list[int]) -> State:
    """Return the state without some clusters; their rows are lost."""
    keep = np.ones(len(state.coarse_of), dtype=np.bool_)
    keep[numbers] = False
    clusters, cells = state.clusters, state.clusters.cells
    return state._replace(
        coarse_of=state.coarse_of[keep],
        limits=state.limits[keep],
        clusters=clusters._replace(
            fine=clusters.fine[keep],
            facts=np.ascontiguousarray(clusters.facts[:, keep]),
            sizes=clusters.sizes[keep],
            cells=Cells(cells.arenas, cells.arena[keep], cells.start[keep], cells.capacity[keep]),
        ),
    )


def _add(state: State, at: int, levels: NDArray[np.int8], facts: FloatArray, coarse: int) -> State:
    """Return the state with further, empty clusters before number `at`."""
    n = len(levels)
    clusters, cells = state.clusters, state.clusters.cells
    none = [0] * n
    return state._replace(
        coarse_of=np.insert(state.coarse_of, at, [coarse] * n),
        limits=np.insert(state.limits, at, none),
        clusters=clusters._replace(
            fine=np.insert(clusters.fine, at, levels, axis=0),
            facts=np.ascontiguousarray(np.insert(clusters.facts, [at] * n, facts, axis=1)),
            sizes=np.insert(clusters.sizes, at, none),
            cells=Cells(
                cells.arenas,
                np.insert(cells.arena, at, none),
                np.insert(cells.start, at, none),
                np.insert(cells.capacity, at, none),
            ),
        ),
    )


def _recoded(state: State, backend: BuildBackend) -> State:
    """Code the centroids again, after their number changed."""
    labels = np.unique(state.coarse_of, return_inverse=True)[1].astype(np.int64)
    clusters = state.clusters
    coarse, first, blocks, slots = code_centroids(clusters.fine, clusters.facts, labels, backend)
    clusters = clusters._replace(
        coarse=coarse, coarse_first=first, centroid_blocks=blocks, centroid_slots=slots
    )
    return state._replace(clusters=clusters, coarse_of=labels, packed=backend.pack(clusters))
