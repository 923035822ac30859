"""What looking after a database found and did."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["truth", "derived", "leftover", "foreign"]


class Finding(NamedTuple):
    """One thing that is not as it should be.

    Attributes
    ----------
    kind
        ``"truth"``: records are damaged or cannot be read. ``"derived"``: an index is, or a
        collection has lost its name; it is made again, or gets one. ``"leftover"``: an interrupted
        operation left it, it only takes space. ``"foreign"``: not a file of ours, or a link; it is
        never read.
    place
        The file, from the database's folder.
    problem
        What is wrong, in plain words.
    ids
        The records that it concerns, where they are known.
    """

    kind: Kind
    place: str
    problem: str
    ids: tuple[str, ...] = ()


class VerifyReport(NamedTuple):
    """What `verify` read and found.

    Attributes
    ----------
    checked
        How many collections, records, texts, vector blocks, files… were read.
    findings
        What is wrong; empty when nothing is.
    """

    checked: dict[str, int]
    findings: list[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether every record and every index is as it was committed."""
        return not any(finding.kind in ("truth", "derived") for finding in self.findings)

    @property
    def lost(self) -> list[Finding]:
        """The findings that concern truth: what cannot be made again."""
        return [finding for finding in self.findings if finding.kind == "truth"]


class RepairReport(NamedTuple):
    """What `repair` did.

    Attributes
    ----------
    done
        What was removed or made again, in plain words.
    dropped_ids
        Records that were deleted because their vectors are damaged (`drop_damaged`).
    left
        What is still wrong: truth that is damaged, and files that are not ours.
    """

    done: list[str]
    dropped_ids: list[str]
    left: list[Finding]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong any more."""
        return not any(finding.kind in ("truth", "derived") for finding in self.left)


class CompactReport(NamedTuple):
    """What `compact` did.

    Attributes
    ----------
    n_records
        Records that the collection holds.
    n_removed
        Dead rows that were taken out.
    bytes_before, bytes_after
        Size of the folder.
    is_settled
        False when a reader still reads the state before: its files are removed by the next
        `flush`, `compact` or `repair`.
    """

    n_records: int
    n_removed: int
    bytes_before: int
    bytes_after: int
    is_settled: bool


def merged(reports: list[VerifyReport]) -> VerifyReport:
    """Return several reports as one."""
    checked: dict[str, int] = {}
    for report in reports:
        for name, count in report.checked.items():
            checked[name] = checked.get(name, 0) + count
    return VerifyReport(checked, [finding for report in reports for finding in report.findings])
