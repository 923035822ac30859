"""What to do about what `verify` found: derived things are made again, truth is never invented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from m2m_rag.storage.plain import VECTORS_FOLDER
from m2m_rag.storage.reports import Finding
from m2m_rag.storage.schema import CATALOG_FILE


class Plan(NamedTuple):
    """What `plan_repair` decides for one collection.

    Attributes
    ----------
    drop_ids
        Records to delete: their stored bytes are damaged.
    is_rewriting
        Whether to write the vectors anew, which leaves damaged blocks behind.
    is_rebuilding_texts
        Whether to make the full-text indexes again.
    remove
        Places of damaged snapshots of the index.
    is_sweeping
        Whether there are leftovers.
    """

    drop_ids: list[str]
    is_rewriting: bool
    is_rebuilding_texts: bool
    remove: list[str]
    is_sweeping: bool


def plan_repair(findings: Sequence[Finding], *, drop_damaged: bool) -> Plan:
    """Decide what to do about the findings in one collection.

    Parameters
    ----------
    findings
        What `verify` found.
    drop_damaged
        Delete the records that are damaged.
    """
    lost = [finding for finding in findings if finding.kind == "truth"]
    derived = [finding for finding in findings if finding.kind == "derived"]
    blocks = [finding for finding in lost if f"/{VECTORS_FOLDER}/" in finding.place]
    drop_ids = [id_ for finding in lost for id_ in finding.ids] if drop_damaged else []
    return Plan(
        drop_ids,
        # A block of dead rows alone can be left behind, nothing is lost with it.
        is_rewriting=bool(blocks) and (drop_damaged or not any(f.ids for f in blocks)),
        is_rebuilding_texts=any(f.place.endswith(CATALOG_FILE) for f in derived),
        remove=[f.place for f in derived if not f.place.endswith(CATALOG_FILE)],
        is_sweeping=any(finding.kind == "leftover" for finding in findings),
    )
