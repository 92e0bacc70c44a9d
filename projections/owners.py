"""The owners: which execution of a work item belongs to whom, and how that came about."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from ledger.batch import Batch, Change
from ledger.index import Index
from ledger.packet import Execution, WorkItem
from ledger.tables import Column, Rows, Table
from projections.trail import Line

CHANGES = tuple(
    f"pauseledger.{name}"
    for name in ("execution.claimed", "execution.finished", "owner.changed", "work.moved", "branch.started")
)
"""The types of the entries that change who owns what. (``pause.opened`` may name a first owner.)"""


class Ownership(NamedTuple):
    """One execution: its role, its owner, and the entries that made them so.

    ``role`` is ``canonical``, ``rival``, ``retired``, or ``moved`` where the work item was moved away from it.
    """

    subject: str
    execution: str
    role: str
    owner: str | None
    owner_set: str | None
    owner_changed: str | None
    moved: str | None


OWNERS = Table(
    "owners",
    (
        Column("subject"),
        Column("execution"),
        Column("role", required=True),
        Column("owner"),
        Column("owner_set"),
        Column("owner_changed"),
        Column("moved"),
    ),
    ("subject", "execution"),
)


class Owners:
    """The table and its rows."""

    tables = (OWNERS,)

    def rows(self, batch: Batch) -> list[Rows]:
        changed = [one for change in batch.changes if _differs(change) for one in owners_of(change.after)]
        return [Rows(OWNERS, changed, "replace")]


def _differs(change: Change) -> bool:
    before, after = change
    return before is None or (
        before.executions is not after.executions
        or before.rivals is not after.rivals
        or before.canonical != after.canonical
        or before.moved != after.moved
    )


def owners_of(item: WorkItem) -> list[Ownership]:
    """Every execution that a work item has had, in the order of their names."""

    def entry(offset: int | None) -> str | None:
        return None if offset is None else item.entry(offset)

    found = []
    for name in sorted(item.executions.keys() | item.rivals.keys()):
        known = item.executions.get(name, Execution())
        set_by, changed_by = entry(known.owner_set), entry(known.owner_changed)
        moved = entry(item.moved) if name == item.canonical else None
        found.append(Ownership(item.subject, name, _role(item, name), known.owner, set_by, changed_by, moved))
    return found


def _role(item: WorkItem, name: str) -> str:
    if name == item.canonical:
        return "canonical" if item.moved is None else "moved"
    return "rival" if name in item.rivals else "retired"


def ownership_changes(index: Index, subject: str | None = None, *, at: datetime | None = None) -> Iterator[Line]:
    """The accepted entries that changed who owns what, by the log's time: of one work item, or of all."""
    marks = ", ".join("?" * len(CHANGES))
    one = "" if subject is None else " AND subject = ?"
    rows = index.recorder.select(
        f"SELECT subject, version FROM trail WHERE verdict = 'accepted' AND type IN ({marks}){one}"
        ' ORDER BY recorded_at, partition, "offset"',
        (*CHANGES, *([] if subject is None else [subject])),
    )
    for name, version in rows:
        entry = index.entry(name, version)
        if at is None or entry.instant <= at:
            yield Line(entry.record, entry.verdict())
