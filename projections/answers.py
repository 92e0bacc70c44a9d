"""The answers to what is asked of one work item, as scripts read them: the same on the command line and over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.checks import stop_signals
from ledger.decision import decide
from ledger.errors import NotFound
from ledger.index import Index
from ledger.packet import WorkItem, packet_of
from ledger.times import format_instant
from projections.decisions import as_of_now, decisions, pause_of
from projections.owners import owners_of
from projections.trail import trail


def decisions_answer(item: WorkItem | None, *, now: datetime, at: datetime | None = None) -> list[dict[str, Any]]:
    """The decisions of a work item's pauses, in the order opened."""
    if item is None:
        return []
    return [one.as_dict() for one in decisions(item, at or as_of_now(item, now))]


def decision_answer(
    item: WorkItem | None, subject: str, pause: str, *, now: datetime, at: datetime | None = None
) -> dict[str, Any]:
    """The decision of one pause. Raises ``NotFound``."""
    item, one = pause_of(item, subject, pause)
    return decide(item, one, at or as_of_now(item, now)).as_dict()


def packet_answer(item: WorkItem | None, subject: str, pause: str) -> dict[str, Any]:
    """The packet of a pause. Raises ``NotFound``."""
    item, one = pause_of(item, subject, pause)
    return packet_of(item, one, stop_signals(item, one))


def trail_answer(index: Index, partitions: int, subject: str, *, at: datetime | None = None) -> list[dict[str, Any]]:
    """Every entry that names a work item, with its verdict, oldest first."""
    return [line.as_dict() for line in trail(index, partitions, subject, at=at)]


def work_item_answer(item: WorkItem | None, subject: str) -> dict[str, Any]:
    """A work item: whose it is, its executions, and its pauses. Raises ``NotFound``."""
    if item is None:
        raise NotFound(f"{subject} has no entry on this ledger.", "See GET /v1/work-items for those that have.")
    return {
        **work_item_row(item),
        "executions": [one._asdict() for one in owners_of(item)],
        "pauses": [
            {
                "pause": one.pause,
                "execution": one.execution,
                "opened": item.entry(one.opened),
                "state": "open" if one.is_open else "closed",
                "outcome": one.outcome,
            }
            for one in item.pauses.values()
        ],
    }


def work_item_row(item: WorkItem) -> dict[str, Any]:
    """A work item in a line."""
    return {
        "subject": item.subject,
        "entries": item.version,
        "instant": None if item.instant is None else format_instant(item.instant),
        "canonical": item.canonical,
        "owner": item.owner_of(item.canonical),
        "moved": None if item.moved is None else item.entry(item.moved),
        "rivals": sorted(item.rivals),
        "open_pauses": len(item.open),
    }
