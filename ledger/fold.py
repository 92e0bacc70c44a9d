"""The fold: a pure, total, deterministic function that gives every record of a partition a verdict (protocol, section 7).

1. Line 1, malformed, is :mod:`ledger.cloudevents`; lines 2 and 3, duplicates, are here; line 4 is
   :mod:`ledger.refusals`; what line 5, accepted, changes is :mod:`ledger.changes`.
2. Only accepted entries change anything but the work item's instant and version.
3. Nothing here reads a clock, a file or an environment, and nothing depends on the order of a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ledger.changes import CHANGES
from ledger.cloudevents import Reading, read_event
from ledger.decision import judge, valid_until
from ledger.json_text import same_data
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.refusals import Scene, refusal, scene_of
from ledger.times import from_milliseconds
from ledger.verdict import Outcome, Verdict, reason_for


class First(NamedTuple):
    """The first entry of a work item with some source and id: what it said, and its verdict as scripts read it."""

    type: str
    data: Mapping[str, Any]
    verdict: dict[str, Any]


def _verdict(record: Record, reading: Reading, outcome: Outcome, code: str, detail: str = "", **more: Any) -> Verdict:
    attribute = reading.content.get if outcome != "malformed" else reading.attribute
    return Verdict(
        record.partition,
        record.offset,
        record.recorded_at,
        attribute("subject"),
        attribute("id"),
        attribute("source"),
        attribute("type"),
        outcome,
        code,
        reason_for(code, detail),
        **more,
    )


def malformed(record: Record, reading: Reading) -> Verdict:
    """The verdict of a record that is no event of this ledger. It changes nothing."""
    return _verdict(record, reading, "malformed", reading.fault or "bad-data", reading.detail)


def _permission(scene: Scene) -> dict[str, Any]:
    """What an accepted request to act hands out: the fence, and until when it is worth something."""
    kind = scene.event.type
    if kind == "pauseledger.resume.requested":
        return {"fence": scene.offset, "action_digest": scene.found.action_digest}
    if kind == "pauseledger.side_effect.attempted" and scene.data.fence is not None:
        clear = judge(scene.item, scene.found, scene.instant, own="not_happened")
        return {"fence": scene.data.fence, "valid_until": valid_until(scene.found, clear)}
    return {}


def fold_entry(item: WorkItem, record: Record, reading: Reading, first: First | None) -> tuple[WorkItem, Verdict]:
    """The work item after a well-formed entry, and the entry's verdict. ``first``: see :class:`First`; null without one."""
    event = reading.event
    assert event is not None
    instant = from_milliseconds(record.recorded_at)
    if item.instant is not None and item.instant > instant:
        instant = item.instant
    after = {"version": item.version + 1, "instant": instant}
    if first is not None:
        if first.type == event.type and same_data(first.data, reading.content["data"]):
            verdict = _verdict(record, reading, "duplicate", "duplicate", first=first.verdict)
        else:
            verdict = _verdict(record, reading, "refused", "id-reused")
        return item.but(**after), verdict
    scene = scene_of(item, event, instant, record.offset)
    if refused := refusal(scene):
        return item.but(**after), _verdict(record, reading, "refused", *refused)
    changed = CHANGES[event.type](scene).but(**after)
    return changed, _verdict(record, reading, "accepted", "ok", **_permission(scene))


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
        item = self.items.get(event.subject) or WorkItem(subject=event.subject, partition=record.partition)
        name = (event.subject, event.source, event.id)
        first = self._firsts.get(name)
        self.items[event.subject], verdict = fold_entry(item, record, reading, first)
        if first is None:
            self._firsts[name] = First(event.type, reading.content["data"], verdict.as_dict())
        return verdict

    def take_all(self, records: Iterable[Record]) -> list[Verdict]:
        return [self.take(record) for record in records]
