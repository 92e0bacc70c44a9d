"""An entry of a work item, as the index keeps it: the record byte for byte, its instant and its verdict.

These are the domain events of the aggregate (:mod:`ledger.index`). The mapper writes and reads them itself, from a
closed pair of topics: no name that is stored or came off the wire is ever resolved to code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from eventsourcing.persistence import Mapper, MapperDeserialisationError, StoredEvent

from ledger.changes import CHANGES
from ledger.cloudevents import known_event
from ledger.fold import First
from ledger.packet import WorkItem, work_item_adapter
from ledger.record import Record, read_record_bytes, record_parts
from ledger.refusals import Scene
from ledger.times import from_milliseconds, parse_instant, to_milliseconds
from ledger.verdict import Outcome, Verdict

ENTRY_TOPIC = "entry"
SNAPSHOT_TOPIC = "snapshot"

_HEAD = struct.Struct(">BqI")  # outcome, instant in milliseconds, partition
_OUTCOMES: tuple[Outcome, ...] = ("accepted", "refused", "duplicate")
_NUMBERS = {outcome: number for number, outcome in enumerate(_OUTCOMES)}


EntryRow = tuple[str, int, str, bytes]
"""The subject, the version, the topic and the bytes: the columns of the library's table."""


class Entry(NamedTuple):
    """One entry of a work item. ``originator_id`` is the subject; ``originator_version`` counts from 1."""

    originator_id: str
    originator_version: int
    instant: datetime
    record: Record
    outcome: Outcome
    ruling: bytes

    def verdict(self) -> Verdict:
        """The verdict that this entry was given."""
        event = known_event(self.record)
        code, detail, fence, digest, until, first = orjson.loads(self.ruling) if self.ruling else _PLAIN
        record = self.record
        return Verdict(
            record.partition,
            record.offset,
            record.recorded_at,
            event.subject,
            event.id,
            event.source,
            event.type,
            self.outcome,
            code,
            detail,
            first,
            fence,
            digest,
            None if until is None else parse_instant(until),
        )


_PLAIN = ("ok", "", None, None, None, None)


class ItemSnapshot(NamedTuple):
    """The folded state of a work item after so many entries."""

    originator_id: str
    originator_version: int
    item: WorkItem


def entry_row(verdict: Verdict, version: int, instant: datetime, record: Record) -> EntryRow:
    """The entry that brought a work item to a version, as the index stores it."""
    ruling = b"" if verdict.code == "ok" and verdict.fence is None else _ruling(verdict)
    return verdict.subject or "", version, ENTRY_TOPIC, _state(verdict.verdict, instant, record, ruling)


def _ruling(verdict: Verdict) -> bytes:
    """What a verdict has beside its outcome; only what accepts without giving a permission has nothing."""
    until = None if verdict.valid_until is None else verdict.valid_until.isoformat()
    return orjson.dumps((verdict.code, verdict.detail, verdict.fence, verdict.action_digest, until, verdict.first))


def _state(outcome: Outcome, instant: datetime, record: Record, ruling: bytes) -> bytes:
    """The bytes of an entry: outcome, instant and partition, then the record's bytes, then the ruling."""
    head = _HEAD.pack(_NUMBERS[outcome], to_milliseconds(instant), record.partition)
    return b"".join((head, *record_parts(record), ruling))


def stored_entry(entry: Entry) -> StoredEvent:
    """An entry in the library's terms."""
    state = _state(entry.outcome, entry.instant, entry.record, entry.ruling)
    return StoredEvent(entry.originator_id, entry.originator_version, ENTRY_TOPIC, state)


def entry_from(stored: StoredEvent) -> Entry:
    """The inverse of :func:`stored_entry`, and of :func:`entry_row`."""
    state = stored.state
    outcome, milliseconds, partition = _HEAD.unpack_from(state)
    record, length = read_record_bytes(partition, state[_HEAD.size :])
    return Entry(
        str(stored.originator_id),
        stored.originator_version,
        from_milliseconds(milliseconds),
        record,
        _OUTCOMES[outcome],
        state[_HEAD.size + length :],
    )


class EntryMapper(Mapper[str]):
    """Between entries, snapshots and their stored bytes."""

    def to_stored_event(self, domain_event: Any) -> StoredEvent:
        if isinstance(domain_event, Entry):
            return stored_entry(domain_event)
        state = work_item_adapter().dump_json(domain_event.item)
        return StoredEvent(domain_event.originator_id, domain_event.originator_version, SNAPSHOT_TOPIC, state)

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        if stored_event.topic == ENTRY_TOPIC:
            return entry_from(stored_event)
        if stored_event.topic == SNAPSHOT_TOPIC:
            item = work_item_adapter().validate_json(stored_event.state)
            return ItemSnapshot(item.subject, item.version, item)
        raise MapperDeserialisationError(f"the index holds an event of the unknown topic {stored_event.topic!r}")


def replayed(item: WorkItem | None, entry: Entry) -> WorkItem:
    """The work item after one more of its entries, whose verdict is known: nothing is judged again."""
    if item is None:
        item = WorkItem.unseen(entry.originator_id, entry.record.partition)
    changed = item
    if entry.outcome == "accepted":
        event = known_event(entry.record)
        changed = CHANGES[event.type](Scene(item, event, entry.instant, entry.record.offset))
    return changed.advanced(item, entry.instant)


def project(item: WorkItem | None, events: Iterable[Any]) -> WorkItem | None:
    """The projector of the aggregate: frozen states, from a snapshot on where there is one."""
    for event in events:
        item = event.item if isinstance(event, ItemSnapshot) else replayed(item, event)
    return item


def first_of(entry: Entry) -> First:
    """What a later entry with the same source and id is compared with."""
    return First(entry.record, entry.verdict())
