"""The fold: a pure, total, deterministic function that gives every record a verdict (protocol, section 7).

1. Line 1, malformed, is :mod:`ledger.cloudevents`; lines 2 and 3, duplicates, are here; line 4 is
   :mod:`ledger.refusals`; what line 5, accepted, changes is :mod:`ledger.changes`.
2. Only accepted entries change anything but the work item's instant and version.
3. Nothing here reads a clock, a file or an environment, and nothing depends on the order of a set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ledger.changes import CHANGES
from ledger.cloudevents import Reading, content_of, read_event
from ledger.decision import valid_until
from ledger.events import LedgerEvent
from ledger.json_text import same_data
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.refusals import Scene, refusal
from ledger.times import from_milliseconds
from ledger.verdict import Outcome, Verdict

_GIVES_PERMISSION = ("pauseledger.resume.requested", "pauseledger.side_effect.attempted")


class First(NamedTuple):
    """The first entry of a work item with some source and id, and its verdict."""

    record: Record
    verdict: Verdict

    def says_the_same(self, reading: Reading) -> bool:
        """Whether another event of the same source and id has the same type and data."""
        first, again = content_of(self.record), reading.content
        return bool(first["type"] == again["type"]) and same_data(first["data"], again["data"])


def _verdict(record: Record, event: LedgerEvent, outcome: Outcome, code: str, detail: str = "") -> Verdict:
    return Verdict(
        record.partition,
        record.offset,
        record.recorded_at,
        event.subject,
        event.id,
        event.source,
        event.type,
        outcome,
        code,
        detail,
    )


def malformed(record: Record, reading: Reading) -> Verdict:
    """The verdict of a record that is no event of this ledger. It changes nothing."""
    return Verdict(
        record.partition,
        record.offset,
        record.recorded_at,
        reading.attribute("subject"),
        reading.attribute("id"),
        reading.attribute("source"),
        reading.attribute("type"),
        "malformed",
        reading.fault or "bad-data",
        reading.detail,
    )


def _with_permission(scene: Scene, verdict: Verdict) -> Verdict:
    """The verdict with what an accepted request to act hands out: the fence, and until when it is worth something."""
    kind = scene.event.type
    if kind == "pauseledger.resume.requested":
        return verdict._replace(fence=scene.offset, action_digest=scene.found.action_digest)
    if kind == "pauseledger.side_effect.attempted" and scene.data.fence is not None:
        until = valid_until(scene.found, scene.clear_otherwise)
        return verdict._replace(fence=scene.data.fence, valid_until=until)
    return verdict


def fold_entry(item: WorkItem, record: Record, reading: Reading, first: First | None) -> tuple[WorkItem, Verdict]:
    """The work item after a well-formed entry, and the entry's verdict.

    ``first`` is the first entry with the same source and id, null where this is it.
    """
    event = reading.event
    assert event is not None
    instant = from_milliseconds(record.recorded_at)
    if item.instant is not None and item.instant > instant:
        instant = item.instant
    if first is None:
        scene = Scene(item, event, instant, record.offset)
        if refused := refusal(scene):
            verdict = _verdict(record, event, "refused", *refused)
        else:
            item = CHANGES[event.type](scene)
            verdict = _verdict(record, event, "accepted", "ok")
            if event.type in _GIVES_PERMISSION:
                verdict = _with_permission(scene, verdict)
    elif first.says_the_same(reading):
        verdict = _verdict(record, event, "duplicate", "duplicate")._replace(first=first.verdict.as_dict())
    else:
        verdict = _verdict(record, event, "refused", "id-reused")
    return item.but(version=item.version + 1, instant=instant), verdict


class Replay:
    """The fold over whole partitions, in memory: for a verifier, a test, or a ledger that fits.

    ``items`` holds the work items by subject. Feed it each partition's records in order; partitions may interleave.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.items: dict[str, WorkItem] = {}
        self._firsts: dict[tuple[str, str, str], First] = {}

    def take(self, record: Record) -> Verdict:
        """Fold one record in; its verdict."""
        reading = read_event(record, self.partitions)
        if reading.event is None:
            return malformed(record, reading)
        event = reading.event
        item = self.items.get(event.subject) or WorkItem.unseen(event.subject, record.partition)
        name = (event.subject, event.source, event.id)
        first = self._firsts.get(name)
        self.items[event.subject], verdict = fold_entry(item, record, reading, first)
        if first is None:
            self._firsts[name] = First(record, verdict)
        return verdict

    def take_all(self, records: Iterable[Record]) -> list[Verdict]:
        return [self.take(record) for record in records]
