"""The trail: every entry of the ledger with its verdict, and what each work item's auditor reads.

A row an entry, by partition and offset. Records that are entries of a work item lie in the aggregate's own table; of a
malformed one the row keeps the record itself, so that what happened can be shown however broken it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from ledger.batch import Batch
from ledger.cloudevents import shown_event
from ledger.fold import verdict_of_malformed
from ledger.index import Index
from ledger.record import Record, read_record_bytes, record_bytes
from ledger.tables import Column, Lookup, Rows, Table
from ledger.times import from_milliseconds
from ledger.verdict import Verdict

TRAIL = Table(
    "trail",
    (
        Column("partition", "integer"),
        Column("offset", "integer"),
        Column("subject"),
        Column("version", "integer"),
        Column("recorded_at", "integer", required=True),
        Column("type"),
        Column("verdict", required=True),
        Column("code", required=True),
        Column("record", "bytes"),
    ),
    ("partition", "offset"),
    (Lookup("trail_malformed", ("subject",), "verdict = 'malformed'"),),
)


class Trail:
    """The table and its rows."""

    tables = (TRAIL,)

    def rows(self, batch: Batch) -> list[Rows]:
        """Two sets: of a malformed entry the record is kept as well, which the work item's entries hold of others."""
        sound, malformed = [], []
        for record, verdict, version in zip(batch.records, batch.verdicts, batch.versions, strict=True):
            row = (
                verdict.partition,
                verdict.offset,
                verdict.subject,
                version,
                verdict.recorded_at,
                verdict.type,
                verdict.verdict,
                verdict.code,
            )
            if version is None:
                malformed.append((*row, record_bytes(record)))
            else:
                sound.append((*row, None))
        return [Rows(TRAIL, sound), Rows(TRAIL, malformed)]


class Line(NamedTuple):
    """One entry on a trail: its record and its verdict."""

    record: Record
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """The verdict as scripts read it, with the ``event``; null where that is no JSON."""
        return self.verdict.as_dict() | {"event": shown_event(self.record)}


def trail(index: Index, partitions: int, subject: str, *, at: datetime | None = None) -> list[Line]:
    """Every entry that names a work item, malformed ones too, oldest first.

    Entries of one partition keep their order. With ``at`` only those that had happened by then; a malformed entry,
    which has no instant of its own, counts from the later of its record's time and the instant of the entry before it.
    """
    version = None if at is None else index.version_at(subject, at)
    entries = index.entries(subject, lte=version) if version != 0 else ()
    lines = [Line(entry.record, entry.verdict()) for entry in entries] + _malformed(index, partitions, subject)
    lines.sort(key=lambda line: (line.record.partition, line.record.offset))
    return [line for _, line in sorted(_timed(lines, at), key=lambda timed: timed[0])]


def _timed(lines: Iterable[Line], at: datetime | None) -> Iterator[tuple[tuple[datetime, int, int], Line]]:
    """The lines that had happened, with what they are sorted by: the latest time so far on their partition; place."""
    latest: dict[int, datetime] = {}
    instant: dict[int, datetime] = {}
    for line in lines:
        partition, recorded = line.record.partition, from_milliseconds(line.record.recorded_at)
        latest[partition] = max(recorded, latest.get(partition, recorded))
        happened = max(recorded, instant.get(partition, recorded))
        if line.verdict.verdict != "malformed":
            instant[partition] = happened
        if at is None or happened <= at:
            yield (latest[partition], partition, line.record.offset), line


def _malformed(index: Index, partitions: int, subject: str) -> list[Line]:
    rows = index.recorder.select(
        "SELECT partition, record FROM trail WHERE subject = ? AND verdict = 'malformed'"
        ' ORDER BY partition, "offset"',
        (subject,),
    )
    records = [read_record_bytes(partition, data)[0] for partition, data in rows]
    return [Line(record, verdict_of_malformed(record, partitions)) for record in records]


def verdict_at(index: Index, partitions: int, partition: int, offset: int) -> Verdict | None:
    """The verdict of one entry; null where none is indexed there."""
    rows = index.recorder.select(
        'SELECT subject, version, record FROM trail WHERE partition = ? AND "offset" = ?', (partition, offset)
    )
    if not rows:
        return None
    subject, version, data = rows[0]
    if version is not None:
        return index.entry(subject, version).verdict()
    return verdict_of_malformed(read_record_bytes(partition, data)[0], partitions)
