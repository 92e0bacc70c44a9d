"""Expired and never decided: the pauses whose plan went stale while nobody said what was to become of it.

A pause counts from the instant its freshness passes. It counts no more once somebody decides: an accepted
``inputs.rechecked`` or ``review.decided`` makes it fresh again (or closes it, ``rejected``), and a pause that closes as
``executed``, ``settled`` or ``waived`` was decided as well. One whose grant is out was decided before it expired.
What ends stale in any other way (``terminated``, ``finished``, ``abandoned``) counts for ever: nobody can decide it
now.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, NamedTuple

from ledger.index import Index
from ledger.packet import Pause, WorkItem
from ledger.times import format_instant
from projections.deadlines import undecided_from

WITH_UNDECIDED = "SELECT DISTINCT subject FROM deadlines WHERE undecided_from IS NOT NULL"


class Undecided(NamedTuple):
    """A pause that expired, and that nobody has decided. ``outcome`` is how it ended, null while it is open."""

    subject: str
    execution: str
    pause: str
    owner: str | None
    since: str
    state: Literal["open", "closed"]
    outcome: str | None


def expired_undecided(index: Index, now: datetime) -> int:
    """How many pauses of the index have expired, as of ``now``, and were never decided. Exact to a millisecond."""
    asked = format_instant(now.astimezone(UTC))
    rows = index.recorder.select("SELECT COUNT(*) FROM deadlines WHERE undecided_from <= ?", (asked,))
    return int(rows[0][0])


def undecided_of(item: WorkItem, as_of: datetime) -> list[Undecided]:
    """Those of one work item, in the order opened."""
    found = [(pause, undecided_from(pause)) for pause in item.pauses.values()]
    return [_undecided(item, pause, since) for pause, since in found if since is not None and since <= as_of]


def _undecided(item: WorkItem, pause: Pause, since: datetime) -> Undecided:
    return Undecided(
        item.subject,
        pause.execution,
        pause.pause,
        pause.owner,
        format_instant(since),
        "open" if pause.is_open else "closed",
        pause.outcome,
    )
