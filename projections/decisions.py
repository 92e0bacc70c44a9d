"""The decisions: which branch each pause takes, as of its work item's last instant, for whoever lists them.

A decision for now, or for another instant, is made from the folded state (:func:`decisions`): deadlines pass
without an entry. A closed pause's row holds only what can't change any more but by another entry of that pause.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ledger.batch import Batch, Change
from ledger.decision import Decision, debt, decide
from ledger.errors import NotFound
from ledger.json_text import write_json
from ledger.packet import Pause, WorkItem
from ledger.tables import Column, Rows, Table
from ledger.times import format_instant

DECISIONS = Table(
    "decisions",
    (
        Column("subject"),
        Column("pause"),
        Column("opened", "integer", required=True),
        Column("decision", required=True),
        Column("rule", required=True),
        Column("as_of", required=True),
        Column("valid_until"),
        Column("content", required=True),
    ),
    ("subject", "pause"),
)


class Decisions:
    """The table and its rows."""

    tables = (DECISIONS,)

    def rows(self, batch: Batch) -> list[Rows]:
        changed = [_row(change.after, pause) for change in batch.changes for pause in touched(change)]
        return [Rows(DECISIONS, changed, "replace")]


def touched(change: Change) -> list[Pause]:
    """The pauses of which something can have changed: the open ones, and those that closed or changed."""
    before, item = change
    known = {} if before is None else before.pauses
    if item.pauses is known:
        return [item.pauses[name] for name in item.open]
    return [pause for name, pause in item.pauses.items() if pause.is_open or pause is not known.get(name)]


def _row(item: WorkItem, pause: Pause) -> tuple[Any, ...]:
    return _open_row(item, pause) if pause.is_open else _closed_row(item, pause)


def _open_row(item: WorkItem, pause: Pause) -> tuple[Any, ...]:
    assert item.instant is not None
    content = decide(item, pause, item.instant).as_dict()
    return (
        item.subject,
        pause.pause,
        pause.opened,
        content["decision"],
        content["rule"],
        content["as_of"],
        content["valid_until"],
        write_json(content).decode(),
    )


def _closed_row(item: WorkItem, pause: Pause) -> tuple[Any, ...]:
    content = {
        "subject": item.subject,
        "execution": pause.execution,
        "pause": pause.pause,
        "decision": "closed",
        "rule": "closed",
        "outcome": pause.outcome,
        "closed": None if pause.closed is None else item.entry(pause.closed),
        "side_effect": pause.side_effect,
        "debt": debt(pause),
        "action_digest": pause.action_digest,
        "fence": pause.fence,
    }
    since = format_instant(pause.side_effect_since)
    text = write_json(content).decode()
    return (item.subject, pause.pause, pause.opened, "closed", "closed", since, None, text)


def as_of_now(item: WorkItem, now: datetime) -> datetime:
    """The instant of a decision for now: the work item's last one where our clock is behind it."""
    return now if item.instant is None else max(now.astimezone(UTC), item.instant)


def decisions(item: WorkItem, as_of: datetime) -> list[Decision]:
    """The decisions of a work item's pauses at an instant, in the order the pauses were opened."""
    return [decide(item, pause, as_of) for pause in item.pauses.values()]


def pause_of(item: WorkItem | None, subject: str, pause: str) -> tuple[WorkItem, Pause]:
    """A pause of a work item. Raises ``NotFound``."""
    if item is None or pause not in item.pauses:
        opened = "none" if item is None or not item.pauses else ", ".join(list(item.pauses)[:5])
        raise NotFound(f"{subject} has no pause {pause!r}.", f"Pauses of it on this ledger: {opened}.")
    return item, item.pauses[pause]
