"""What was folded in memory and is not written to the index yet, of one partition.

A verdict needs the log and the fold, not the index: a publisher's process folds what it has recorded at once, and
writes many entries in one transaction later. Nothing is lost with it: whoever reads next folds the same from the log.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter

from ledger.batch import Batch, Change, Name
from ledger.fold import First
from ledger.packet import WorkItem
from ledger.recorders.port import Position
from ledger.verdict import Verdict


class Ahead:
    """Batches in a row, from the position at which the index stands."""

    def __init__(self, partition: int, started: Position) -> None:
        self.partition = partition
        self.started = started
        self.reached = started
        self.items: dict[str, WorkItem] = {}
        self.firsts: dict[Name, First] = {}
        self.entries = 0
        self.bytes = 0
        self._batches: list[Batch] = []
        self._before: dict[str, WorkItem | None] = {}

    def add(self, batch: Batch) -> None:
        """Keep a batch that was folded on what is kept here already."""
        self._batches.append(batch)
        self.entries += len(batch.records)
        for change in batch.changes:
            self._before.setdefault(change.after.subject, change.before)
            self.items[change.after.subject] = change.after
        self.firsts |= batch.firsts
        self.bytes += sum([len(record.value or b"") for record in batch.records])

    def began(self, subject: str) -> bool:
        """Whether all entries of a work item lie here: the index has none of it."""
        return self._before.get(subject, subject) is None

    def verdict(self, offset: int) -> Verdict | None:
        """The verdict of an entry that lies here; null for any other."""
        for batch in reversed(self._batches):  # it is the newest that is asked for
            if batch.records and batch.records[0].offset <= offset <= batch.records[-1].offset:
                at = offset - batch.records[0].offset
                if at >= len(batch.verdicts) or batch.verdicts[at].offset != offset:  # there are gaps before it
                    at = bisect_left(batch.verdicts, offset, key=attrgetter("offset"))
                return batch.verdicts[at] if batch.verdicts[at].offset == offset else None
        return None

    def whole(self) -> Batch:
        """All of it as one batch."""
        return Batch(
            self.partition,
            [record for batch in self._batches for record in batch.records],
            [verdict for batch in self._batches for verdict in batch.verdicts],
            [version for batch in self._batches for version in batch.versions],
            [instant for batch in self._batches for instant in batch.instants],
            self.firsts,
            [version for batch in self._batches for version in batch.first_versions],
            [Change(self._before[subject], item) for subject, item in self.items.items()],
        )
