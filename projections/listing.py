"""Which work items a listing is about, and their states, now or then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from ledger.index import Index
from ledger.packet import Pause, WorkItem
from projections.decisions import as_of_now

WITH_DEADLINES = "SELECT DISTINCT subject FROM deadlines WHERE state = 'open' OR debt_since IS NOT NULL"
WITH_DEBTS = "SELECT DISTINCT subject FROM deadlines WHERE debt_since IS NOT NULL"
WITH_OWNERS = "SELECT DISTINCT subject FROM owners"
WITH_OPEN = "SELECT DISTINCT subject FROM deadlines WHERE state = 'open'"
WITH_PAUSES = "SELECT DISTINCT subject FROM deadlines"
EVERY = "SELECT DISTINCT originator_id FROM stored_events"


def action_name(pause: Pause) -> str | None:
    """What a pause is about, in a word; null where it has no action."""
    return None if pause.pending_action is None else str(pause.pending_action.body["name"])


def subjects_after(index: Index, candidates: str, after: str, most: int) -> list[str]:
    """The names of the next work items that ``candidates`` selects, by name; those after ``""`` are all."""
    name = "originator_id" if candidates == EVERY else "subject"
    rows = index.recorder.select(
        f"SELECT {name} FROM ({candidates}) AS named WHERE {name} > ? ORDER BY 1 LIMIT ?", (after, most)
    )
    return [subject for (subject,) in rows]


def work_items(
    index: Index,
    candidates: str,
    *,
    now: datetime,
    at: datetime | None = None,
    seen: Callable[[int], None] | None = None,
) -> Iterator[tuple[WorkItem, datetime]]:
    """The states of work items, by name, each with the instant of which it is asked.

    Now: those that ``candidates`` selects. Then (``at``): all, for a table knows nothing of the past. ``seen`` is told
    of each.
    """
    for (subject,) in index.recorder.select(f"{candidates if at is None else EVERY} ORDER BY 1"):
        item = index.work_item(subject, at=at)
        if seen is not None:
            seen(1)
        if item is not None:
            yield item, at or as_of_now(item, now)
