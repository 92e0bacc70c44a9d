"""The deadlines: when a plan goes stale, when an owner counts as lapsed, and when a debt is due.

A debt is a side effect of which nobody knows whether it landed, until an observation settles it or somebody with
authority writes it off. A closed pause keeps its debt; its other deadlines mean nothing any more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, NamedTuple

from ledger.batch import Batch
from ledger.decision import debt
from ledger.packet import Pause, WorkItem
from ledger.tables import Column, Lookup, Rows, Table, View
from ledger.times import format_instant, shifted
from projections.decisions import touched
from projections.listing import action_name

Kind = Literal["freshness", "heartbeat", "debt"]

ENDED_UNDECIDED = ("terminated", "finished", "abandoned")
"""How a pause ends without anybody saying what is to become of its action."""


class Deadline(NamedTuple):
    """One deadline of a pause. ``passed`` as of the instant that was asked for."""

    subject: str
    execution: str
    pause: str
    kind: Kind
    owner: str | None
    at: str
    passed: bool


class Debt(NamedTuple):
    """An outcome that nobody knows: who owes it, since when and by which entry, and by when (null: not agreed)."""

    subject: str
    execution: str
    pause: str
    owner: str | None
    since: str
    due: str | None
    overdue: bool
    state: Literal["open", "closed"]
    side_effect_by: str
    action: str | None
    """The name of the pending action."""


DEADLINES = Table(
    "deadlines",
    (
        Column("subject"),
        Column("pause"),
        Column("execution", required=True),
        Column("owner"),
        Column("state", required=True),
        Column("fresh_until"),
        Column("lapses_at"),
        Column("debt_since"),
        Column("debt_due"),
        Column("undecided_from"),
    ),
    ("subject", "pause"),
    (
        Lookup("deadlines_debts", ("debt_since",), "debt_since IS NOT NULL"),
        Lookup("deadlines_fresh", ("fresh_until", "subject", "pause"), "fresh_until IS NOT NULL"),
        Lookup("deadlines_lapses", ("lapses_at", "subject", "pause"), "lapses_at IS NOT NULL"),
        Lookup("deadlines_due", ("debt_due", "subject", "pause"), "debt_due IS NOT NULL"),
        Lookup("deadlines_undecided", ("undecided_from",), "undecided_from IS NOT NULL"),
    ),
    (
        View(
            "debts",
            "SELECT subject, pause, execution, owner, state, debt_since AS since, debt_due AS due"
            " FROM deadlines WHERE debt_since IS NOT NULL",
        ),
    ),
)


class Deadlines:
    """The table and its rows: one a pause, and the debts as a view of it."""

    tables = (DEADLINES,)

    def rows(self, batch: Batch) -> list[Rows]:
        changed = [_row(change.after, pause) for change in batch.changes for pause in touched(change)]
        return [Rows(DEADLINES, changed, "replace")]


def _row(item: WorkItem, pause: Pause) -> tuple[Any, ...]:
    fresh, lapses = (pause.fresh_until, pause.lapses_at) if pause.is_open else (None, None)
    since = None if debt(pause) is None else pause.side_effect_since
    times = (fresh, lapses, since, due_at(pause), undecided_from(pause))
    return (
        item.subject,
        pause.pause,
        pause.execution,
        pause.owner,
        "open" if pause.is_open else "closed",
        *(None if time is None else format_instant(time) for time in times),
    )


def undecided_from(pause: Pause) -> datetime | None:
    """From when a pause counts as expired and never decided (:mod:`projections.undecided`); null where it can't."""
    if pause.fresh_until is None or pause.grant != "none":
        return None
    if pause.ended is None:
        return pause.fresh_until
    expired = pause.ended.at >= pause.fresh_until and pause.ended.outcome in ENDED_UNDECIDED
    return pause.fresh_until if expired else None


def due_at(pause: Pause) -> datetime | None:
    """When a pause's debt is due; null where there is none, or where nothing was agreed."""
    within = pause.terms.reconcile_within
    return None if debt(pause) is None or within is None else shifted(pause.side_effect_since, within)


def deadlines_of(item: WorkItem, as_of: datetime) -> list[Deadline]:
    """The deadlines of a work item's pauses, earliest first."""
    found: list[tuple[datetime, Kind, Pause]] = []
    for pause in item.pauses.values():
        if pause.is_open and pause.fresh_until is not None:
            found.append((pause.fresh_until, "freshness", pause))
        if pause.is_open and pause.lapses_at is not None:
            found.append((pause.lapses_at, "heartbeat", pause))
        if (due := due_at(pause)) is not None:
            found.append((due, "debt", pause))
    found.sort(key=lambda one: one[0])
    return [
        Deadline(item.subject, pause.execution, pause.pause, kind, pause.owner, format_instant(at), as_of >= at)
        for at, kind, pause in found
    ]


def debts_of(item: WorkItem, as_of: datetime) -> list[Debt]:
    """What a work item's pauses owe, in the order opened."""
    return [_debt(item, pause, as_of) for pause in item.pauses.values() if debt(pause) is not None]


def _debt(item: WorkItem, pause: Pause, as_of: datetime) -> Debt:
    due = due_at(pause)
    return Debt(
        item.subject,
        pause.execution,
        pause.pause,
        pause.owner,
        format_instant(pause.side_effect_since),
        None if due is None else format_instant(due),
        due is not None and as_of >= due,
        "open" if pause.is_open else "closed",
        item.entry(pause.side_effect_by),
        action_name(pause),
    )
