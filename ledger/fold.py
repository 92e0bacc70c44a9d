"""The fold: a pure, total, deterministic function that gives every record a verdict (protocol, section 7).

1. Line 1, malformed, is :mod:`ledger.cloudevents`; lines 2 and 3, duplicates, are here; line 4 is
   :mod:`ledger.refusals`; what line 5, accepted, changes is :mod:`ledger.changes`.
2. Only accepted entries change anything but the work item's instant and version.
3. Nothing here reads a clock, a file or an environment, and nothing depends on the order of a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from ledger.changes import CHANGES
from ledger.cloudevents import Fault, content_of, read_event
from ledger.decision import valid_until
from ledger.events import LedgerEvent
from ledger.json_text import same_data
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.refusals import Scene, refusal
from ledger.times import from_milliseconds
from ledger.verdict import Outcome, Verdict


class First(NamedTuple):
    """The first entry of a work item with some source and id, and its verdict."""

    record: Record
    verdict: Verdict

    def says_the_same(self, record: Record) -> bool:
        """Whether another record of the same source and id has the same type and data."""
        if self.record.value == record.value and self.record.headers == record.headers:
            return True  # byte for byte, which is how nearly every resend comes
        first, again = content_of(self.record), content_of(record)
        return bool(first["type"] == again["type"]) and same_data(first["data"], again["data"])


Permission = tuple[int | None, str | None, datetime | None]
"""What an accepted request to act hands out: the fence, and the action or the time for which it is worth something."""

_NONE: Permission = (None, None, None)
READ_AHEAD = 1_024
"""So many records are read before they are folded."""
_tuple = tuple.__new__  # a named tuple's own constructor takes twice as long


def _verdict(
    record: Record,
    event: LedgerEvent,
    outcome: Outcome,
    code: str,
    detail: str = "",
    first: dict[str, Any] | None = None,
    permission: Permission = _NONE,
) -> Verdict:
    fence, digest, until = permission
    said = event.__dict__  # many reads of a model's attributes: it is slow to give them one by one
    return _tuple(
        Verdict,
        (
            record.partition,
            record.offset,
            record.recorded_at,
            said["subject"],
            said["id"],
            said["source"],
            said["type"],
            outcome,
            code,
            detail,
            first,
            fence,
            digest,
            until,
        ),
    )


def malformed(record: Record, fault: Fault) -> Verdict:
    """The verdict of a record that is no event of this ledger. It changes nothing."""
    return Verdict(
        record.partition,
        record.offset,
        record.recorded_at,
        fault.attribute("subject"),
        fault.attribute("id"),
        fault.attribute("source"),
        fault.attribute("type"),
        "malformed",
        fault.code,
        fault.detail,
    )


def verdict_of_malformed(record: Record, partitions: int) -> Verdict:
    """The verdict of a record that is known to be malformed: what was wrong with it still is."""
    fault = read_event(record, partitions)
    assert isinstance(fault, Fault)
    return malformed(record, fault)


def _granted(scene: Scene) -> Permission:
    return scene.offset, scene.found.action_digest, None


def _allowed(scene: Scene) -> Permission:
    if scene.data.fence is None:
        return _NONE
    return scene.data.fence, None, valid_until(scene.found, scene.clear_otherwise)


_PERMISSIONS: dict[str, Callable[[Scene], Permission]] = {
    "pauseledger.resume.requested": _granted,
    "pauseledger.side_effect.attempted": _allowed,
}


def fold_entry(item: WorkItem, record: Record, event: LedgerEvent, first: First | None) -> tuple[WorkItem, Verdict]:
    """The work item after a well-formed entry, and the entry's verdict.

    ``first`` is the first entry with the same source and id, null where this is it.
    """
    instant = from_milliseconds(record.recorded_at)
    if item.instant is not None and item.instant > instant:
        instant = item.instant
    changed = item
    if first is None:
        scene = Scene(item, event, instant, record.offset)
        if refused := refusal(scene):
            verdict = _verdict(record, event, "refused", *refused)
        else:
            changed = CHANGES[scene.kind](scene)
            hand_out = _PERMISSIONS.get(scene.kind)
            permission = _NONE if hand_out is None else hand_out(scene)
            verdict = _verdict(record, event, "accepted", "ok", permission=permission)
    elif first.says_the_same(record):
        verdict = _verdict(record, event, "duplicate", "duplicate", "", first.verdict.as_dict())
    else:
        verdict = _verdict(record, event, "refused", "id-reused")
    return changed.advanced(item, instant), verdict


class Replay:
    """The fold over whole partitions, in memory: for a verifier, a test, or a ledger that fits.

    ``items`` holds the work items by subject. Feed it each partition's records in order; partitions may interleave.
    """

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.items: dict[str, WorkItem] = {}
        self._names: dict[tuple[str, str, str], int] = {}
        self._firsts: list[tuple[Record, Verdict]] = []

    def take(self, record: Record) -> Verdict:
        """Fold one record in; its verdict."""
        return self._folded(record, read_event(record, self.partitions))

    def take_all(self, records: Iterable[Record]) -> list[Verdict]:
        """Fold records in; their verdicts. Some are read before they are folded, which is quicker than by turns."""
        coming = iter(records)
        verdicts: list[Verdict] = []
        while some := list(islice(coming, READ_AHEAD)):
            read = [read_event(record, self.partitions) for record in some]
            verdicts += map(self._folded, some, read)
            del read  # its memory is used again while the processor's cache has it
        return verdicts

    def _folded(self, record: Record, event: LedgerEvent | Fault) -> Verdict:
        if isinstance(event, Fault):
            return malformed(record, event)
        said = event.__dict__
        subject = said["subject"]
        item = self.items.get(subject) or WorkItem.unseen(subject, record.partition)
        known = len(self._firsts)
        number = self._names.setdefault((subject, said["source"], said["id"]), known)
        first = First(*self._firsts[number]) if number < known else None
        self.items[subject], verdict = fold_entry(item, record, event, first)
        if first is None:
            self._firsts.append((record, verdict))
        return verdict
