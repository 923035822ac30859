"""Reading everything that a collection or a database stores, and saying what is wrong with it.

Truth is the catalog and the vector blocks that it names; indexes are derived. All is read within
one snapshot, from the disk: SQLite's own check goes through every table and index, and each page
read is held against its checksum (`m2m_rag.storage.sqlite`). Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import apsw

from m2m_rag.errors import M2MError
from m2m_rag.storage import leftovers
from m2m_rag.storage.checksums import checksum
from m2m_rag.storage.derived import FULL_TEXT_TABLES, contradictions
from m2m_rag.storage.metadata import decode_metadata
from m2m_rag.storage.page_places import check_places
from m2m_rag.storage.plain import COLLECTIONS_FOLDER, VECTORS_FOLDER, collection_folder
from m2m_rag.storage.registry import KIND as REGISTRY_KIND
from m2m_rag.storage.registry import REGISTRY_FILE
from m2m_rag.storage.reports import Finding, VerifyReport, merged
from m2m_rag.storage.schema import CATALOG_FILE, KIND
from m2m_rag.storage.snapshot import Snapshot
from m2m_rag.storage.sqlite import opened
from m2m_rag.storage.vectors import Layout, check_files
from m2m_rag.storage.vectors.verifying import damaged_rows

IndexCheck: TypeAlias = Callable[[Path], str | None]
"""Says what is wrong with an index snapshot's file, or None."""
_TOLD = 100
"""How many lines of SQLite's check are told."""


def verify_database(path: Path, check_index: IndexCheck) -> VerifyReport:
    """Verify the database in a folder with all its collections."""
    try:
        names = read_registry(path)
    except M2MError as error:
        return VerifyReport({"collections": 0}, [Finding("truth", REGISTRY_FILE, str(error))])
    reports = [VerifyReport({"collections": len(names)}, _folder_findings(path, names))]
    for name, folder_name in names.items():
        place = f"{COLLECTIONS_FOLDER}/{folder_name}"
        try:
            folder = collection_folder(path, folder_name)
            report = verify_collection(folder, place, check_index)
        except M2MError as error:
            report = VerifyReport({}, [Finding("truth", place, str(error))])
        if not report.lost or read_registry(path).get(name) == folder_name:
            reports.append(report)  # else it was dropped meanwhile
    return merged(reports)


def read_registry(path: Path) -> dict[str, str]:
    """Return the folder of each collection by its name, the whole registry checked."""
    file = path / REGISTRY_FILE
    with opened(file, REGISTRY_KIND) as connection:
        problems = list(_check_pages(connection))
        if problems:
            raise apsw.CorruptError(problems[0])
        rows: Any = connection.execute("SELECT name, folder FROM collections").fetchall()
    return dict(sorted(rows))


def verify_collection(folder: Path, place: str, check_index: IndexCheck) -> VerifyReport:
    """Verify the collection in a folder.

    Parameters
    ----------
    folder
        The collection's folder.
    place
        How findings call it.
    check_index
        Checks a snapshot of the index.
    """
    catalog_place = f"{place}/{CATALOG_FILE}"
    try:
        with opened(folder / CATALOG_FILE, KIND) as connection:
            check_places(connection, folder / CATALOG_FILE)
            connection.execute("BEGIN").fetchall()
            reports = [verify_catalog(connection, catalog_place)]
            if not reports[0].lost:
                snapshot = Snapshot(connection)
                reports.append(_verify_vectors(folder, place, snapshot))
                reports.append(_verify_files(folder, place, snapshot, check_index))
    except M2MError as error:
        reports = [VerifyReport({}, [Finding("truth", catalog_place, str(error))])]
    return merged(reports)


def verify_catalog(connection: apsw.Connection, place: str) -> VerifyReport:
    """Verify a catalog within the connection's transaction: pages, counts, texts, metadata."""
    findings = [Finding(_kind_of(problem), place, problem) for problem in _check_pages(connection)]
    if any(finding.kind == "truth" for finding in findings):
        return VerifyReport({}, findings)
    findings += [Finding("truth", place, problem) for problem in _check_counts(connection)]
    findings += [Finding("derived", place, problem) for problem in contradictions(connection)]
    n_records = n_texts = 0
    rows: Any = connection.execute("SELECT id, text, text_hash, metadata FROM records")
    for id_, text, text_hash, metadata in rows:
        n_records += 1
        n_texts += text is not None
        problem = _record_problem(text, text_hash, metadata)
        if problem is not None:
            findings.append(Finding("truth", place, problem, (id_,)))
    return VerifyReport({"catalogs": 1, "records": n_records, "texts": n_texts}, findings)


def _check_pages(connection: apsw.Connection) -> Iterator[str]:
    rows: Any = connection.execute(f"PRAGMA integrity_check({_TOLD})").fetchall()
    return (str(row[0]) for row in rows if row[0] != "ok")


def _kind_of(problem: str) -> Any:
    is_derived = any(f'table "{table}"' in problem for table in FULL_TEXT_TABLES)
    return "derived" if is_derived else "truth"


def _check_counts(connection: apsw.Connection) -> Iterator[str]:
    """Yield where the counters and the tables contradict each other."""
    state = Snapshot(connection).state

    def count(sql: str) -> int:
        return int(connection.execute(sql).get)

    n_records = count("SELECT count(*) FROM records")
    n_dead = count("SELECT count(*) FROM tombstones")
    if n_records != state.n_live:
        yield f"it counts {state.n_live} records and holds {n_records}"
    if n_records + n_dead != state.n_rows:
        yield f"{n_records} records and {n_dead} dead rows are not the {state.n_rows} rows counted"
    for table in ("records", "tombstones"):
        n_beyond = count(
            f"SELECT count(*) FROM {table} WHERE row NOT BETWEEN 0 AND {state.n_rows - 1:d}"
        )
        if n_beyond:
            yield f"{n_beyond} entries of {table} lie beyond row {state.n_rows - 1}"
    n_both = count("SELECT count(*) FROM records JOIN tombstones USING (row)")
    if n_both:
        yield f"{n_both} records are live and dead at once"
    n_later = count(f"SELECT count(*) FROM tombstones WHERE commit_no > {state.commit_no:d}")
    if n_later:
        yield f"{n_later} rows died in commits that have not been yet"


def _record_problem(text: Any, text_hash: Any, metadata: Any) -> str | None:
    expected = None if text is None else checksum(text.encode())
    if text_hash != expected:
        return "a text does not match its hash"
    try:
        decode_metadata(metadata)
    except M2MError as error:
        return str(error)
    return None


def _verify_vectors(folder: Path, place: str, snapshot: Snapshot) -> VerifyReport:
    state, layout = snapshot.state, snapshot.layout()
    check_files(layout.files, state.generation, state.n_rows, folder)
    if state.dimension is None:
        return VerifyReport({"vector_blocks": 0}, [])
    n_blocks = 0

    def counted(file: int, first: int, last: int) -> Any:
        nonlocal n_blocks
        n_blocks += 1
        return layout.checksums(file, first, last)

    damaged = damaged_rows(
        folder / VECTORS_FOLDER,
        state.dimension,
        state.collection,
        state.generation,
        Layout(layout.files, counted),
    )
    findings = [
        Finding(
            "truth",
            f"{place}/{VECTORS_FOLDER}/{name}",
            problem,
            tuple(snapshot.ids_between(first_row, stop)),
        )
        for name, first_row, stop, problem in damaged
    ]
    return VerifyReport({"vector_files": len(layout.files), "vector_blocks": n_blocks}, findings)


def _verify_files(
    folder: Path, place: str, snapshot: Snapshot, check_index: IndexCheck
) -> VerifyReport:
    names = {file.name for file in snapshot.layout().files}
    findings, n_indexes = [], 0
    for name, use in leftovers.in_collection(folder, snapshot.state.generation, names).items():
        if use == "used":
            if name.endswith(".hrm2"):
                n_indexes += 1
                problem = check_index(folder / name)
                if problem is not None:
                    findings.append(Finding("derived", f"{place}/{name}", problem))
        else:
            findings.append(_finding(use, f"{place}/{name}"))
    return VerifyReport({"index_files": n_indexes}, findings)


def _folder_findings(path: Path, names: dict[str, str]) -> list[Finding]:
    """Say what in a database's folder is not in use."""
    uses = leftovers.in_database(path, set(names.values()))
    found = [_finding(use, name) for name, use in uses.items() if use != "used"]
    return [
        _orphan(path, finding) if (path / finding.place).is_dir() else finding for finding in found
    ]


def found_name(folder: str) -> str:
    """Return the name under which `repair` brings a collection back that has lost its own."""
    return f"found-{folder[:8]}"


def n_orphaned(folder: Path) -> int:
    """Return how many records are in a collection's folder that no name leads to."""
    path = folder / CATALOG_FILE
    if not path.exists():
        return 0
    with opened(path, KIND, any_format=True) as connection:
        n_records: int | None = connection.execute("SELECT n_live FROM state WHERE NOT dropped").get
    return n_records or 0


def _orphan(path: Path, finding: Finding) -> Finding:
    """Tell what stands in a folder that is not in use."""
    if finding.kind != "leftover":
        return finding
    try:
        n_records = n_orphaned(path / finding.place)
    except M2MError as error:
        return finding._replace(problem=f"no name leads to it, and it cannot be read: {error}")
    if not n_records:
        return finding
    return finding._replace(
        kind="derived",
        problem=f"no name leads to this collection of {n_records} records: the registry is an "
        "older copy, or dropping the collection was interrupted. repair() names it "
        f"{found_name(Path(finding.place).name)!r}.",
    )


def _finding(use: leftovers.Use, place: str) -> Finding:
    if use == "leftover":
        return Finding("leftover", place, "nothing leads to it (any more); it only takes space")
    return Finding("foreign", place, "it is not a file of m2m_rag; it is never read or changed")
