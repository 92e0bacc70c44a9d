"""A projection whose code changed is made anew from the entries of the index, beside the old one, and swapped.

While it is being filled everybody goes on reading and writing the old table. In the end, for a moment, nobody writes:
what was folded meanwhile is added, the new table takes the old one's place, and the index begins a new generation. A
process of an older version is fenced then, finds tables newer than it knows, and halts.

A process that dies on the way leaves a table beside, which the next one drops and fills again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from ledger.batch import Batch, Change, Projection
from ledger.entries import Entry, project
from ledger.errors import Fenced, UnusableLog
from ledger.fold import verdict_of_malformed
from ledger.index import Index
from ledger.record import read_record_bytes
from ledger.recorders.port import Position
from ledger.tables import Rows, beside

_CHUNK = 4_096
_FEW = 1_000
"""So many work items at most are made anew while nobody may write."""

Progress = Callable[[int], None]
"""Called now and then with the number of entries that were read since."""


def refuse_newer_tables(index: Index) -> None:
    """Raises ``UnusableLog`` where a newer version has made the index's tables."""
    known = index.recorder.table_versions()
    if newer := [table.name for table in index.tables if known.get(table.name, 0) > table.version]:
        raise UnusableLog(f"A newer pauseledger has made the index's {', '.join(newer)} anew.", "Upgrade this one.")


def bring_up(index: Index, partitions: int, progress: Progress | None = None) -> bool:
    """Make those projections anew that an older version wrote; whether there were any.

    ``partitions`` are the log's. Where another process does it already, it is waited for.
    """
    if not _stale(index):
        return False
    with index.recorder.alone():
        while projections := _stale(index):
            try:
                _made_anew(index, partitions, projections, progress or (lambda _: None))
            except Fenced:
                continue
    return True


def _stale(index: Index) -> list[Projection]:
    refuse_newer_tables(index)
    known = index.recorder.table_versions()
    return [one for one in index.projections if any(known.get(table.name) != table.version for table in one.tables)]


def _made_anew(index: Index, partitions: int, projections: Sequence[Projection], progress: Progress) -> None:
    recorder = index.recorder
    generation = recorder.generation()
    tables = [table for projection in projections for table in projection.tables]
    recorder.drop(map(beside, tables))
    recorder.make_tables(map(beside, tables))
    stand: Mapping[int, Position] = {}
    changed: Iterable[str] = _all_work_items(index)
    while True:
        reached = recorder.positions()
        for batch in _batches(index, partitions, changed, stand):
            recorder.insert(_rows(projections, batch))
            progress(len(batch.records))
        stand = reached
        if len(changed := _changed_since(index, stand)) <= _FEW:
            break

    def last() -> Iterator[Rows]:
        for batch in _batches(index, partitions, _changed_since(index, stand), stand):
            yield from _rows(projections, batch)

    recorder.swap(tables, generation, last)


def _rows(projections: Iterable[Projection], batch: Batch) -> list[Rows]:
    """What projections have of a batch, for the tables beside theirs."""
    found = [rows for projection in projections for rows in projection.rows(batch)]
    return [Rows(beside(rows.table), rows.rows, "replace") for rows in found]


def _all_work_items(index: Index) -> Iterator[str]:
    after = ""
    statement = (
        "SELECT DISTINCT originator_id FROM stored_events WHERE originator_id > ? ORDER BY originator_id LIMIT ?"
    )
    while some := index.recorder.select(statement, (after, _CHUNK)):
        yield from (subject for (subject,) in some)
        after = some[-1][0]


def _changed_since(index: Index, stand: Mapping[int, Position]) -> list[str]:
    """The work items with an entry that was folded after the index stood so."""
    found: set[str] = set()
    for partition in index.recorder.positions():
        start = stand.get(partition, Position(0)).next_offset
        statement = 'SELECT DISTINCT subject FROM trail WHERE partition = ? AND "offset" >= ? AND version IS NOT NULL'
        found.update(subject for (subject,) in index.recorder.select(statement, (partition, start)))
    return sorted(found)


def _batches(
    index: Index, partitions: int, work_items: Iterable[str], stand: Mapping[int, Position]
) -> Iterator[Batch]:
    """All entries of work items, and what is malformed since the index stood so, as batches that were folded."""
    for subject in work_items:
        yield from _batches_of(index, subject)
    for partition in index.recorder.positions():
        yield from _malformed_since(index, partitions, partition, stand.get(partition, Position(0)).next_offset)


def _batches_of(index: Index, subject: str) -> Iterator[Batch]:
    coming, item = iter(index.entries(subject)), None
    while entries := list(islice(coming, _CHUNK)):
        before, item = item, project(item, entries)
        assert item is not None
        yield _batch(entries, [Change(before, item)])


def _batch(entries: Sequence[Entry], changes: Sequence[Change]) -> Batch:
    return Batch(
        entries[0].record.partition,
        [entry.record for entry in entries],
        [entry.verdict() for entry in entries],
        [entry.originator_version for entry in entries],
        [entry.instant for entry in entries],
        {},
        [],
        changes,
    )


def _malformed_since(index: Index, partitions: int, partition: int, offset: int) -> Iterator[Batch]:
    """Records that are no work item's entries lie nowhere but in the trail: a new one has them from the old one."""
    statement = (
        'SELECT "offset", record FROM trail WHERE partition = ? AND "offset" >= ? AND version IS NULL'
        ' ORDER BY "offset" LIMIT ?'
    )
    while some := index.recorder.select(statement, (partition, offset, _CHUNK)):
        records = [read_record_bytes(partition, data)[0] for _, data in some]
        verdicts = [verdict_of_malformed(record, partitions) for record in records]
        nothing = [None] * len(records)
        yield Batch(partition, records, verdicts, nothing, nothing, {}, [], [])
        offset = some[-1][0] + 1
