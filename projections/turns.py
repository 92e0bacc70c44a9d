"""How decisions turn: each change of a decision after some place on the log and some instant, and what caused it.

A decision changes by an entry, and when a deadline passes, without one. Where somebody stands is the next offset of
every partition and an instant; from one stand to a later one the turns are always the same, whenever they are asked
for and in however many steps. So whoever was away goes on from where he stood, and misses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ledger.decision import Decision, decide
from ledger.entries import Entry, replayed
from ledger.index import Index
from ledger.packet import Pause, WorkItem
from ledger.times import format_instant

MOST_ENTRIES = 500
"""So many entries of a partition are looked at in one step."""

Sight = Callable[[WorkItem], bool]
"""Whether somebody may see a work item."""


class Stand(NamedTuple):
    """The next offset of each partition, and an instant, both already seen."""

    offsets: tuple[int, ...]
    instant: datetime


class Turn(NamedTuple):
    """A decision that is not what it was. ``entry`` caused it; null where time did. ``stand`` is right after it."""

    decision: Decision
    before: str | None
    entry: str | None
    stand: Stand

    def as_dict(self) -> dict[str, Any]:
        return {"entry": self.entry, "before": self.before, "decision": self.decision.as_dict()}


def _face(decision: Decision) -> tuple[Any, ...]:
    """What of a decision is a change to whoever follows it; that a heartbeat came in time is none."""
    pause, judgement = decision.pause, decision.judgement
    return judgement.rule, pause.action_digest, pause.fence, pause.grant, pause.outcome, judgement.side_effect


class _Followed:
    """One work item as it goes on, and what was last told of each of its pauses."""

    def __init__(self, item: WorkItem | None, since: datetime) -> None:
        self.item = item
        self.clock = since if item is None or item.instant is None else max(since, item.instant)
        self.told: dict[str, Decision] = {}
        if item is not None:
            self.told = {name: decide(item, pause, self.clock) for name, pause in item.pauses.items()}

    def _turned(self, pause: Pause, as_of: datetime) -> tuple[Decision, str | None] | None:
        assert self.item is not None
        former, decision = self.told.get(pause.pause), decide(self.item, pause, as_of)
        self.told[pause.pause] = decision
        if former is not None and _face(former) == _face(decision):
            return None
        return decision, None if former is None else former.judgement.decision

    def until(self, instant: datetime) -> Iterator[tuple[Decision, str | None]]:
        """The decisions that time alone turns, up to an instant."""
        if self.item is None or instant <= self.clock:
            return
        found = []
        for pause in [self.item.pauses[name] for name in self.item.open]:
            while (then := self.told[pause.pause].valid_until) is not None and then <= instant:
                if (turned := self._turned(pause, then)) is not None:
                    found.append(turned)
        self.clock = instant
        yield from sorted(found, key=lambda one: (one[0].as_of, one[0].pause.opened))

    def take(self, entry: Entry) -> Iterator[tuple[Decision, str | None]]:
        """The decisions that an entry turns."""
        self.item = replayed(self.item, entry)
        self.clock = max(self.clock, entry.instant)
        for pause in list(self.item.pauses.values()):
            if (turned := self._turned(pause, self.clock)) is not None:
                yield turned


def turns(
    index: Index, since: Stand, ends: Sequence[int], until: datetime, sight: Sight, subject: str | None = None
) -> tuple[list[Turn], Stand]:
    """The turns after ``since``, at most to the offsets ``ends`` and to ``until``, and where one stands then.

    A step is bounded: where it is not at ``ends`` yet, the instant stays, and one asks again.
    """
    found: list[Turn] = []
    followed: dict[str, _Followed] = {}
    offsets = list(since.offsets)
    for partition, end in enumerate(ends):
        rows, offsets_end = _rows(index, partition, offsets[partition], end)
        for offset, name, version in rows:
            if subject is None or subject == name:
                stand = _stand(offsets, partition, offset + 1, since.instant)
                found += _by_entry(index, followed, name, version, since.instant, stand)
        offsets[partition] = offsets_end
    if offsets != list(ends):
        return _seen(found, sight), Stand(tuple(offsets), since.instant)
    late = Stand(tuple(offsets), since.instant)
    for name in sorted({*_due(index, since.instant, until), *followed} if subject is None else {subject}):
        one = followed.get(name) or _Followed(index.work_item(name), since.instant)
        found += [Turn(decision, before, None, late) for decision, before in one.until(until)]
    reached = Stand(tuple(offsets), max(until, since.instant))
    if found and found[-1].stand == late:
        found[-1] = found[-1]._replace(stand=reached)
    return _seen(found, sight), reached


def _seen(found: Sequence[Turn], sight: Sight) -> list[Turn]:
    return [one for one in found if sight(one.decision.item)]


def _stand(offsets: Sequence[int], partition: int, offset: int, instant: datetime) -> Stand:
    return Stand((*offsets[:partition], offset, *offsets[partition + 1 :]), instant)


def _rows(index: Index, partition: int, start: int, end: int) -> tuple[list[tuple[int, str, int]], int]:
    """The entries of work items in a part of the log (offset, subject, version), and where that part ends."""
    rows = index.recorder.select(
        'SELECT "offset", subject, version FROM trail WHERE partition = ? AND "offset" >= ? AND "offset" < ?'
        ' ORDER BY "offset" LIMIT ?',
        (partition, start, end, MOST_ENTRIES),
    )
    reached = end if len(rows) < MOST_ENTRIES else rows[-1][0] + 1
    return [(offset, subject, version) for offset, subject, version in rows if version is not None], reached


def _by_entry(
    index: Index, followed: dict[str, _Followed], subject: str, version: int, since: datetime, stand: Stand
) -> Iterator[Turn]:
    """What an entry turns, after what time has turned before it."""
    entry = index.entry(subject, version)
    one = followed.get(subject)
    if one is None:
        one = followed[subject] = _Followed(index.work_item_at(subject, version - 1), since)
    before = _stand(stand.offsets, entry.record.partition, entry.record.offset, since)
    for decision, former in one.until(entry.instant):
        yield Turn(decision, former, None, before)
    for decision, former in one.take(entry):
        yield Turn(decision, former, entry.record.entry, stand)


def _due(index: Index, after: datetime, until: datetime) -> list[str]:
    """The work items of which an open pause has a deadline between two instants."""
    span = (format_instant(after), format_instant(until))
    rows = index.recorder.select(
        "SELECT DISTINCT subject FROM deadlines WHERE state = 'open' AND"
        " (fresh_until BETWEEN ? AND ? OR lapses_at BETWEEN ? AND ?)",
        (*span, *span),
    )
    return [subject for (subject,) in rows]
