"""``m2m doctor PATH``, ``backup``, ``restore``, ``compact``: what is stored, in plain words."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from m2m_rag import Database
from m2m_rag._database_upkeep import diagnose
from m2m_rag.cli.existing import check_database, opened
from m2m_rag.cli.output import console, errors, human_bytes, printable
from m2m_rag.errors import FormatError, M2MError, ReadOnlyError, WriterLockedError
from m2m_rag.inputs import as_path
from m2m_rag.storage.plain import COLLECTIONS_FOLDER
from m2m_rag.storage.registry import REGISTRY_FILE
from m2m_rag.storage.reports import Finding, Kind, VerifyReport

_TOLD = 20
"""How many findings are told one by one."""
_IDS_TOLD = 3
_WORDS = {
    "truth": "DAMAGED",
    "derived": "damaged, but can be made again",
    "leftover": "left over",
    "foreign": "not ours",
}


def doctor(path: Path, repair: bool, drop_damaged: bool, as_json: bool) -> None:
    """Verify, repair if asked, and tell; leave with 1 when something is (still) damaged."""
    path = as_path(path)
    if not any((path / name).exists() for name in (REGISTRY_FILE, COLLECTIONS_FOLDER)):
        raise FormatError(f"{path} is not a database of m2m_rag: it has no {REGISTRY_FILE}.")
    done = _repair(path, drop_damaged) if repair else []
    report = diagnose(path)
    if as_json:
        findings = [finding._asdict() for finding in report.findings]
        said = {"checked": report.checked, "done": done or [], "findings": findings}
        typer.echo(json.dumps({"is_sound": report.is_sound, **said}, indent=2))
    else:
        for line in [*(f"repaired: {what}" for what in done or []), *explain(path, report)]:
            console.print(printable(line), markup=False, soft_wrap=True)
    if done is None or not report.is_sound:
        raise typer.Exit(1)


def explain(path: Path, report: VerifyReport) -> list[str]:
    """Say in plain words what was checked, what is wrong, what is lost, and what to do next."""
    counts = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in report.checked.items() if n)
    lines = [f"{path}: checked {counts or 'nothing'}."]
    if not report.findings:
        return [*lines, "Everything is as it was committed."]
    lines += [line for finding in report.findings[:_TOLD] for line in _tell(finding)]
    if len(report.findings) > _TOLD:
        lines.append(f"… and {len(report.findings) - _TOLD} more; --json tells all.")
    kinds = Counter(finding.kind for finding in report.findings)
    ids = {id_ for finding in report.lost for id_ in finding.ids}
    if ids:
        lines.append(f"Lost: what is stored of {len(ids)} records cannot be trusted.")
    elif kinds["truth"]:
        lines.append("Lost: what the damaged files held, as far as it can be told.")
    else:
        lines.append("Nothing is lost.")
    return [*lines, *_next_steps(path, kinds, bool(ids))]


def _tell(finding: Finding) -> list[str]:
    lines = [f"{_WORDS[finding.kind]}: {finding.place}", f"    {finding.problem}"]
    if finding.ids:
        some = ", ".join(repr(id_) for id_ in finding.ids[:_IDS_TOLD])
        more = ", …" if len(finding.ids) > _IDS_TOLD else ""
        lines.append(f"    concerns {len(finding.ids)} records: {some}{more}")
    return lines


def _next_steps(path: Path, kinds: Counter[Kind], has_ids: bool) -> list[str]:
    steps, told = [], shlex.quote(str(path))
    if kinds["truth"]:
        steps.append(
            f"Next: restore a backup, m2m restore BACKUP NEW_PATH. Keep {path} until then."
        )
    if has_ids:
        steps.append(
            f"Or go on without those records: m2m doctor {told} --repair --drop-damaged deletes "
            "them."
        )
    if kinds["derived"] or kinds["leftover"]:
        steps.append(
            f"Next: m2m doctor {told} --repair makes indexes again and removes what is left over."
        )
    if kinds["foreign"]:
        steps.append("Files that are not ours are never read or changed.")
    return steps


def _repair(path: Path, drop_damaged: bool) -> Sequence[str] | None:
    """Return what was done; None, said why, when the damage is in the way."""
    try:
        with Database(path) as database:
            return database.repair(drop_damaged=drop_damaged).done
    except (WriterLockedError, ReadOnlyError):
        raise
    except M2MError as error:
        errors.print(printable(f"not repaired: {error}"), markup=False, soft_wrap=True)
        return None


def backup(db: Path, path: Path) -> None:
    """Write a backup and say what it holds."""
    with opened(db) as database:
        report = database.backup(path)
    n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    said = (
        f"{report.checked['collections']} collections, {report.checked.get('records', 0)} records"
    )
    console.print(f"{path}: {said}, {human_bytes(n_bytes)}, verified", markup=False, soft_wrap=True)


def restore(source: Path, path: Path) -> None:
    """Restore a backup and say what it held."""
    with Database.restore(source, path) as database:
        names = database.list()
        n_records = sum(database.open(name).count() for name in names)
    said = f"{path}: {len(names)} collections, {n_records} records, verified"
    console.print(said, markup=False, soft_wrap=True)


def compact(db: Path, collection: str | None, erase: bool) -> None:
    """Compact and say what it gave back."""
    check_database(db)
    with Database(db) as database:
        if collection is None:
            reports = database.compact(erase=erase)
        else:
            reports = {collection: database.open(collection).compact(erase=erase)}
        for name, done in reports.items():
            said = f"{name}: {done.n_records} records, {done.n_removed} dead rows removed, "
            said += f"{human_bytes(done.bytes_before)} → {human_bytes(done.bytes_after)}"
            if not done.is_settled:
                said += " (a reader still reads the old files; the next flush removes them)"
            console.print(said, markup=False, soft_wrap=True)
