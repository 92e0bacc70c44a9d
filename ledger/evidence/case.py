"""One work item before the judge: its verdicts and decisions, from nothing but its own records.

A verdict of the fold depends on the records with the work item's own key on its own partition, and on the number of
partitions (protocol, sections 2 and 7): all that conflicts with it shares its key. So each work item of a bundle is
judged by itself, with the indexer's own fold, and a verifier holds one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from ledger.cloudevents import read_event, shown_event
from ledger.decision import decide
from ledger.events import LedgerEvent
from ledger.evidence.bundle import Query, read_time
from ledger.fold import READ_AHEAD, Replay
from ledger.json_text import write_json
from ledger.packet import WorkItem
from ledger.record import Record
from ledger.times import from_milliseconds
from ledger.verdict import Verdict


class Ruled(NamedTuple):
    """An entry, and its verdict; null where it had not happened yet."""

    record: Record
    verdict: Verdict | None


def ends(record: Record, partitions: int, until: int | None) -> bool:
    """Whether this entry proves that all later ones of its work item came after ``until`` (milliseconds since 1970).

    It is later itself, and is no malformed one: the instants of a work item never go back.
    """
    if until is None or record.recorded_at <= until:
        return False
    return isinstance(read_event(record, partitions), LedgerEvent)


class Case:
    """The records of one key on one partition. ``until`` is in milliseconds since 1970: what is later is not judged."""

    def __init__(self, partitions: int, until: int | None, query: Query) -> None:
        self._replay = Replay(partitions)
        self._until = until
        self._query = query
        self._from = None if query.active_from is None else read_time(query.active_from)
        self._to = None if query.active_to is None else read_time(query.active_to)
        self._is_active = False

    @property
    def item(self) -> WorkItem | None:
        """The work item after what was ruled; null before its first entry."""
        return next(iter(self._replay.items.values()), None)

    def rule(self, records: Iterable[Record]) -> Iterator[Ruled]:
        """Fold records in, in their order; their verdicts."""
        coming = iter(records)
        while some := list(islice(coming, READ_AHEAD)):
            happened = [one for one in some if self._until is None or one.recorded_at <= self._until]
            verdicts = iter(self._replay.take_all(happened))
            for record in some:
                is_later = self._until is not None and record.recorded_at > self._until
                verdict = None if is_later else next(verdicts)
                if verdict is not None and not self._is_active:
                    self._is_active = self._counts(verdict)
                yield Ruled(record, verdict)

    def _counts(self, verdict: Verdict) -> bool:
        """Whether an entry is one that the query looks for."""
        if self._query.verdict not in (None, verdict.verdict, verdict.code):
            return False
        at = from_milliseconds(verdict.recorded_at)
        return (self._from is None or at >= self._from) and (self._to is None or at < self._to)

    def is_wanted(self) -> bool:
        """Whether a query that chooses work items chooses this one, after what was ruled."""
        if not self._is_active:
            return False
        if self._query.owner is None:
            return True
        item = self.item
        return item is not None and any(one.owner == self._query.owner for one in item.executions.values())

    def decisions(self, as_of: datetime | None) -> Iterator[tuple[str, bytes]]:
        """The entry that opened each pause, and the line of ``decisions.jsonl``, in the order opened."""
        item = self.item
        if item is None or as_of is None:
            return
        instant = as_of if item.instant is None else max(as_of, item.instant)
        for pause in item.pauses.values():
            yield item.entry(pause.opened), write_json(decide(item, pause, instant).as_dict())


def verdict_line(record: Record, verdict: Verdict) -> bytes:
    """The line of ``verdicts.jsonl``: the verdict as ``publish`` prints it, with the event as ``trail`` does."""
    return write_json(verdict.as_dict() | {"event": shown_event(record)})
