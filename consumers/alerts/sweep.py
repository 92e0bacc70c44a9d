"""A sweep: which deadlines have passed, of which nobody was told yet.

Two rules keep alerts true:

1. Never a moment early. A row of the index only says where to look, for its times are cut to milliseconds; whether the
   deadline has passed is asked of the work item's folded state. By our clock it must have passed for the grace as
   well: what the log stamped just before a deadline may take a moment until it can be read. The log's own clock needs
   no grace: what comes later on a partition has a later time, so its last entry's time is "now" where ours is behind.
2. Never without all that the log held. The clock is read, then the log's ends, and nothing is told before the index
   has come to those ends. Where no other process brings it there, it is folded here. If the index was emptied in
   between, or lost its newest batches with its database, what was read may be half of it, and nothing is told.

A deadline that passed and was moved or met again before any sweep saw it is not told: there is nothing to do.

What has passed long ago and was told is not looked at each time, but once a minute: a deadline can be set that lies in
the past already.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol

from consumers.alerts.alert import NAMES, Alert, alert_for
from consumers.alerts.store import AlertStore, Passed
from consumers.operations import metrics
from consumers.settings import Ledger
from ledger.errors import LogChanged
from ledger.partitions import partition_of
from ledger.times import format_instant, from_milliseconds, shifted, to_milliseconds
from projections.deadlines import Kind, deadlines_of
from projections.decisions import as_of_now

PATIENCE_SECONDS = 2.0
"""How long others may take to index what the log held, where others index at all."""
FOLDING_SECONDS = 5.0
WHOLE_SECONDS = 60.0
"""How often a sweep looks at all that has passed; the others only at what has passed since, and so long before."""
PAGE = 256
MOST_ALERTS = 512
_LOOK_AGAIN_SECONDS = 0.05


class Clock(Protocol):
    def __call__(self) -> datetime:
        """Our own time, aware."""
        ...


def our_clock() -> datetime:
    return datetime.now(UTC)


class Swept(NamedTuple):
    """What a sweep found. ``complete``: all that had passed was told, none is left for the next sweep."""

    alerts: Sequence[Alert]
    complete: bool


class _Times(NamedTuple):
    """Now by our clock; and per partition the instant up to which its deadlines have passed for certain."""

    now: datetime
    passed: Mapping[int, datetime]


class Sweep:
    """Finds deadlines and keeps their alerts."""

    def __init__(self, ledger: Ledger, store: AlertStore, *, grace: timedelta, clock: Clock = our_clock) -> None:
        self._ledger = ledger
        self._recorder = ledger.index.recorder
        self._store = store
        self._grace = grace
        self._clock = clock
        self._patience_seconds = PATIENCE_SECONDS
        self._left_at: Mapping[int, int] = {}
        self._since = self._until = ""
        self._whole_at = 0.0

    def look_at_all(self) -> None:
        """Let the next sweep look at all that has passed, as it must where partitions were taken over."""
        self._whole_at = 0.0

    def run(self, partitions: Collection[int], targets: Collection[str]) -> Swept:
        """Keep an alert for each deadline of these partitions that has passed; the ones that are new.

        Raises ``LogChanged`` where the log is another by now, and what reading the log and the index raise.
        """
        now = self._clock().astimezone(UTC)
        identity = self._ledger.log.identity()
        if identity != self._ledger.indexer.identity:
            advice = "If this is the log that counts from now on, replay it: pauseledger rebuild."
            raise LogChanged(f"The log {identity.topic!r} was made again or changed.", advice)
        ends = {one: end for one, (_, end) in enumerate(self._ledger.log.all_bounds()) if one in partitions}
        generation = self._recorder.generation()
        if not self._is_indexed(ends):
            return Swept((), complete=False)
        times = _Times(now, {one: self._passed_until(one, now) for one in partitions})
        new: list[Alert] = []
        began = self._looked_from(times)
        for page in self._pages(times):
            alerts = list(self._alerts(page, times))
            if not self._still_has(ends, generation):
                return Swept(new, complete=False)
            new += self._added(alerts, targets, now)
            if len(new) >= MOST_ALERTS:
                return Swept(new, complete=False)
        if not self._still_has(ends, generation):
            return Swept(new, complete=False)
        self._told(times, whole_at=began)
        return Swept(new, complete=True)

    def _added(self, alerts: Sequence[Alert], targets: Collection[str], now: datetime) -> Sequence[Alert]:
        """Keep alerts; those that nobody else had kept."""
        new = self._store.add(alerts, targets, to_milliseconds(now))
        for alert in new:
            metrics.ALERTS.labels(alert.kind).inc()
        return new

    def _looked_from(self, times: _Times) -> float:
        """Choose from where to look: from the start where it is time, or where time went back. When this was."""
        now, until = time.monotonic(), format_instant(max(times.passed.values()))
        if now >= self._whole_at or until < self._until:
            self._since = self._until = ""
            self._whole_at = 0.0
        return now

    def _told(self, times: _Times, whole_at: float) -> None:
        """All was told up to these times: the next sweep need not look so far back."""
        if not self._since:
            self._whole_at = whole_at + WHOLE_SECONDS
        self._since = format_instant(shifted(min(times.passed.values()), -timedelta(seconds=WHOLE_SECONDS)))
        self._until = format_instant(max(times.passed.values()))

    def _behind(self, ends: Mapping[int, int]) -> list[int]:
        positions = self._recorder.positions()
        return [one for one, end in ends.items() if end > 0 and (one not in positions or positions[one][0] < end)]

    def _still_has(self, ends: Mapping[int, int], generation: int) -> bool:
        """Whether what was read was all of it. A database that crashed, or failed over, may lack its newest batches."""
        return self._recorder.generation() == generation and not self._behind(ends)

    def _is_indexed(self, ends: Mapping[int, int]) -> bool:
        """Whether the index has come to these ends, by others or here; false where that takes longer than seconds.

        Others are waited for only while they have moved it since the last sweep: a watcher may be alone.
        """
        if any(at > self._left_at.get(one, 0) for one, at in self._stand().items()):
            self._patience_seconds = PATIENCE_SECONDS
        until = time.monotonic() + self._patience_seconds
        while (behind := self._behind(ends)) and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN_SECONDS)
        if behind:
            self._patience_seconds = 0.0
            self._fold(behind, ends)
        self._left_at = self._stand()
        return not self._behind(ends)

    def _stand(self) -> dict[int, int]:
        return {one: position.next_offset for one, position in self._recorder.positions().items()}

    def _fold(self, partitions: Sequence[int], ends: Mapping[int, int]) -> None:
        indexer, stand = self._ledger.indexer, self._stand()
        if any(stand.get(one, 0) != indexer.position(one).next_offset for one in partitions):
            indexer.forget()
        until = time.monotonic() + FOLDING_SECONDS
        for partition in partitions:
            while indexer.position(partition).next_offset < ends[partition] and time.monotonic() < until:
                indexer.step(partition, wait_seconds=1.0)

    def _passed_until(self, partition: int, now: datetime) -> datetime:
        """The later of our clock, less the grace, and the time of a partition's last entry.

        The last one's, not the latest: a broker's clock that was wrong for a while must not be believed for ever.
        """
        rows = self._recorder.select(
            'SELECT recorded_at FROM trail WHERE partition = ? ORDER BY "offset" DESC LIMIT 1', (partition,)
        )
        ours = shifted(now, -self._grace)
        return max(ours, from_milliseconds(rows[0][0])) if rows else ours

    def _pages(self, times: _Times) -> Iterator[tuple[Kind, Sequence[Passed]]]:
        """What the index says has passed on any partition, kind by kind."""
        ledger = self._ledger.indexer.identity.topic_id
        until = format_instant(max(times.passed.values()))
        for kind in NAMES:
            last = Passed(self._since, "", "")
            while page := self._store.untold(ledger, kind, until, last, PAGE):
                yield kind, page
                last = page[-1]

    def _alerts(self, page: tuple[Kind, Sequence[Passed]], times: _Times) -> Iterator[Alert]:
        """The alerts of a page: of deadlines on our partitions that the folded state knows to have passed."""
        kind, rows = page
        identity = self._ledger.indexer.identity
        looked_at: dict[str, set[tuple[str, str]]] = {}
        for row in rows:
            if partition_of(row.subject, identity.partitions) in times.passed:
                looked_at.setdefault(row.subject, set()).add((row.pause, row.deadline))
        for subject, wanted in looked_at.items():
            item = self._ledger.index.work_item(subject)
            if item is None:
                continue
            passed = as_of_now(item, times.passed[item.partition])
            as_of = max(passed, times.now)
            for deadline in deadlines_of(item, passed):
                if deadline.passed and deadline.kind == kind and (deadline.pause, deadline.at) in wanted:
                    yield alert_for(identity, item, deadline, as_of, times.now)
