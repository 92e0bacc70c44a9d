"""What there is to tell of each entry, in the log's order: its verdict, and the decisions that are others since.

Read from the index alone, so any process may do it, and however the entries are cut into batches it comes out the same.

1. A decision is told when anything but its ``as_of`` differs from the one at the entry before; a pause's first always.
2. Of a closed pause it is told when an entry changed that pause, and then no more: a rival or a move that comes later
   changes its checks, and nothing for anybody.
3. What is read while the index is emptied is dropped (``Fenced``): it is there again when the log is replayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ledger.batch import Change, ItemCache
from ledger.decision import decide
from ledger.entries import Entry, replayed
from ledger.errors import Fenced
from ledger.fold import verdict_of_malformed
from ledger.index import Index
from ledger.packet import Pause, WorkItem
from ledger.record import Record, read_record_bytes
from ledger.verdict import Verdict
from projections.decisions import touched

MOST_AT_ONCE = 128
"""So many entries are read from the index together: their records are in memory, and may have 4 MiB each."""

# In quotes, for to PostgreSQL OFFSET is a word of its own.
_ROWS = (
    'SELECT "offset", subject, version, record FROM trail'
    ' WHERE partition = ? AND "offset" >= ? AND "offset" < ? ORDER BY "offset" LIMIT ?'
)
_NOTHING = (
    "SELECT 1 FROM index_positions WHERE partition = ? AND next_offset >= ? AND NOT EXISTS"
    ' (SELECT 1 FROM trail WHERE partition = ? AND "offset" >= ? AND "offset" < ?)'
)


class Announcement(NamedTuple):
    """What one entry gives to tell. ``decisions`` are as scripts read them, each with its ``entry``."""

    record: Record
    verdict: Verdict
    decisions: list[dict[str, Any]]


class Announcements:
    """Follows one index. Work items' states are kept in bounded memory, so that an entry costs its own change only."""

    def __init__(self, index: Index, partitions: int) -> None:
        self._index = index
        self._partitions = partitions
        self._items = ItemCache()
        self._generation: int | None = None

    def generation(self) -> int:
        """How often the index was emptied. Asked before anything else: what was kept of it before is forgotten."""
        found = self._index.recorder.generation()
        if found != self._generation:
            self._items.clear()
            self._generation = found
        return found

    def after(self, partition: int, start: int, end: int) -> list[Announcement]:
        """What entries of a partition with an offset in [start, end) give to tell, of the first ``MOST_AT_ONCE``.

        All of them must have been in the index when it was in the generation asked last. Raises ``Fenced`` when it
        was emptied since.
        """
        rows = self._index.recorder.select(_ROWS, (partition, start, end, MOST_AT_ONCE))
        entries = self._entries([(subject, version) for _, subject, version, _ in rows if version is not None])
        told = [self._told(partition, row, entries) for row in rows]
        self.refuse_emptied()
        return told

    def refuse_emptied(self) -> None:
        """Raises ``Fenced`` when the index was emptied since its generation was asked."""
        known = self._generation
        if self.generation() != known:
            raise Fenced("The index was emptied while it was read.")

    def holds_nothing(self, partition: int, start: int, end: int) -> bool:
        """Whether a partition is indexed up to ``end``, and no entry of it lies in [start, end): both at one moment.

        That ``after`` gives nothing is no proof: a database that crashed, or failed over, may lack its newest
        batches until they are folded again, and then it is indexed less far.
        """
        return bool(self._index.recorder.select(_NOTHING, (partition, end, partition, start, end)))

    def line(self, partition: int, offset: int) -> tuple[Record, Verdict] | None:
        """One entry's record and verdict; null where none is indexed there. Raises ``Fenced`` as :meth:`after`."""
        rows = self._index.recorder.select(_ROWS, (partition, offset, offset + 1, 1))
        if not rows:
            return None
        _, subject, version, data = rows[0]
        if version is None:
            return self._malformed(partition, data)
        entry = self._index.entry(subject, version)
        return entry.record, entry.verdict()

    def _entries(self, wanted: list[tuple[str, int]]) -> dict[tuple[str, int], Entry]:
        versions: dict[str, list[int]] = {}
        for subject, version in wanted:
            versions.setdefault(subject, []).append(version)
        return {
            (subject, entry.originator_version): entry
            for subject, some in versions.items()
            for entry in self._index.entries(subject, gt=some[0] - 1, lte=some[-1])
        }

    def _told(self, partition: int, row: tuple[Any, ...], entries: dict[tuple[str, int], Entry]) -> Announcement:
        _, subject, version, data = row
        if version is None:
            record, verdict = self._malformed(partition, data)
            return Announcement(record, verdict, [])
        entry = entries.get((subject, version))
        if entry is None:
            raise Fenced("The index was emptied while it was read.")
        before = self._before(subject, version)
        item = replayed(before, entry)
        self._items.put(item)
        caused_by = entry.record.entry
        found = [content | {"entry": caused_by} for content in _changed(Change(before, item))]
        return Announcement(entry.record, entry.verdict(), found)

    def _before(self, subject: str, version: int) -> WorkItem | None:
        kept = self._items.get(subject)
        if kept is not None and kept.version == version - 1:
            return kept
        return self._index.work_item_at(subject, version - 1)

    def _malformed(self, partition: int, data: bytes) -> tuple[Record, Verdict]:
        record = read_record_bytes(partition, bytes(data))[0]
        return record, verdict_of_malformed(record, self._partitions)


def _changed(change: Change) -> Iterator[dict[str, Any]]:
    """The decisions that are others after an entry than before it."""
    before, item = change
    for pause in touched(change):
        content = _content(item, pause)
        known = None if before is None else before.pauses.get(pause.pause)
        if before is None or known is None or not pause.is_open or _differs(_content(before, known), content):
            yield content


def _differs(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return before | {"as_of": after["as_of"]} != after


def _content(item: WorkItem, pause: Pause) -> dict[str, Any]:
    assert item.instant is not None
    return decide(item, pause, item.instant).as_dict()
