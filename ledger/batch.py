"""A batch: records of one partition, folded in memory, ready to be written.

What was folded before a batch comes in as states and first entries; nothing here reads or writes anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from ledger.cloudevents import Fault
from ledger.entries import EntryRow, entry_row
from ledger.events import LedgerEvent
from ledger.fold import First, fold_entry, malformed
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.tables import Rows, Table
from ledger.verdict import Verdict

CACHED_ITEMS = 4_096
CACHED_PAUSES = 16_384

Name = tuple[str, str, str]
"""Subject, source and id."""


class Change(NamedTuple):
    """A work item before a batch and after it."""

    before: WorkItem | None
    after: WorkItem


class Batch(NamedTuple):
    """A folded batch: a verdict for each record, and version and instant it gave its work item (null where malformed).

    ``firsts`` are the entries whose names were not known before, with ``first_versions`` the versions of each.
    """

    partition: int
    records: Sequence[Record]
    verdicts: Sequence[Verdict]
    versions: Sequence[int | None]
    instants: Sequence[datetime | None]
    firsts: Mapping[Name, First]
    first_versions: Sequence[int]
    changes: Sequence[Change]

    def entries(self) -> list[EntryRow]:
        """The work items' entries, as they are stored."""
        told = zip(self.records, self.verdicts, self.versions, self.instants, strict=True)
        return [
            entry_row(verdict, version, instant, record)
            for record, verdict, version, instant in told
            if version is not None and instant is not None
        ]


class Projection(Protocol):
    """What is known now, kept in tables beside the entries, written in the same transaction as they are."""

    @property
    def tables(self) -> tuple[Table, ...]: ...

    def rows(self, batch: Batch) -> list[Rows]:
        """The rows that bring the projection up to a batch. They must not depend on how batches were cut."""
        ...


def names_of(events: Iterable[LedgerEvent | Fault]) -> list[Name | None]:
    """The names of events; null in the place of a fault."""
    names: list[Name | None] = []
    for event in events:
        if isinstance(event, Fault):
            names.append(None)
        else:
            said = event.__dict__  # a model is slow to give its attributes one by one
            names.append((said["subject"], said["source"], said["id"]))
    return names


def fold_batch(
    partition: int,
    records: Sequence[Record],
    events: Sequence[LedgerEvent | Fault],
    names: Sequence[Name | None],
    items: Mapping[str, WorkItem],
    firsts: Mapping[Name, First],
) -> Batch:
    """Fold records in order. ``items`` and ``firsts`` hold what is known of the work items that they speak of."""
    now, new = dict(items), dict[Name, First]()
    verdicts: list[Verdict] = []
    versions: list[int | None] = []
    instants: list[datetime | None] = []
    first_versions: list[int] = []
    for record, event, name in zip(records, events, names, strict=True):
        if isinstance(event, Fault):
            verdicts.append(malformed(record, event))
            versions.append(None)
            instants.append(None)
            continue
        assert name is not None
        subject = name[0]
        item = now.get(subject) or WorkItem.unseen(subject, partition)
        first = new.get(name) or firsts.get(name)
        item, verdict = fold_entry(item, record, event, first)
        now[subject] = item
        if first is None:
            new[name] = First(record, verdict)
            first_versions.append(item.version)
        verdicts.append(verdict)
        versions.append(item.version)
        instants.append(item.instant)
    changes = [Change(items.get(subject), item) for subject, item in now.items() if item is not items.get(subject)]
    return Batch(partition, records, verdicts, versions, instants, new, first_versions, changes)


class ItemCache:
    """The states used last, bounded by their number and by the pauses they hold."""

    def __init__(self, items: int = CACHED_ITEMS, pauses: int = CACHED_PAUSES) -> None:
        self._most_items, self._most_pauses = items, pauses
        self._items: OrderedDict[str, WorkItem] = OrderedDict()
        self._pauses = 0

    def get(self, subject: str) -> WorkItem | None:
        """The state of a work item, where it is kept."""
        item = self._items.get(subject)
        if item is not None:
            self._items.move_to_end(subject)
        return item

    def put(self, item: WorkItem) -> None:
        """Keep a state; those used longest ago make room."""
        before = self._items.pop(item.subject, None)
        self._pauses += len(item.pauses) - (0 if before is None else len(before.pauses))
        self._items[item.subject] = item
        while len(self._items) > self._most_items or (self._pauses > self._most_pauses and len(self._items) > 1):
            _, oldest = self._items.popitem(last=False)
            self._pauses -= len(oldest.pauses)

    def clear(self) -> None:
        """Keep nothing."""
        self._items.clear()
        self._pauses = 0
