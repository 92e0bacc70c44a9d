"""The embedded log: one SQLite file, one partition, offsets from 0.

What it promises: when ``append`` returns, the whole batch is in the file and survives a power cut
(write-ahead log, ``synchronous=FULL``, both read back when the file is opened); when it raises, nothing of
the batch is recorded. Any number of processes may append and read at once. It stamps ``recorded_at`` and
never goes back.

The index may live in the same file, on a connection of its own; hence the table names with ``log_``.

Not handled: network file systems, on which SQLite's locks and shared memory don't work.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from ledger.errors import LogChanged
from ledger.log import Draft, Identity, Receipt, Recorded, Slice
from ledger.logs.limits import refuse_bad_drafts, refuse_bad_partition
from ledger.logs.sqlite_file import (
    connect,
    explained,
    grow_write_ahead_log,
    immediate,
    prepare,
    refuse_bad_path,
    snapshot,
    sync_folder,
    topic_id,
)
from ledger.record import Record, headers_bytes, headers_from

TOPIC = "log"
_MOST_SLICE_BYTES = 32 * 1024 * 1024
_OFTEN = 8
"""From this append on a process is one that appends often."""
_LOOK_AGAIN_SECONDS = 0.02
"""SQLite can't tell one process that another has written: a waiting reader looks this often."""

_APPEND = "INSERT INTO log_records (offset, recorded_at, key, value, headers) VALUES (?, ?, ?, ?, ?)"
# Cast, since whoever edits the file by hand leaves texts where bytes were.
_READ = (
    "SELECT offset, recorded_at, CAST(key AS BLOB), CAST(value AS BLOB), CAST(headers AS BLOB) FROM log_records"
    " WHERE offset >= ? ORDER BY offset LIMIT ?"
)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteLog:
    """The log in the file at ``path``; ``create`` makes it where there is none, and is no wish to empty it.

    ``clock`` gives milliseconds since 1970. Raises ``UnusableLog`` where the file is no ledger of ours,
    ``LogUnavailable`` where it can't be opened or written.
    """

    def __init__(self, path: str | Path, *, create: bool = True, clock: Callable[[], int] = _now_ms) -> None:
        self.path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()
        self._appended = threading.Condition()
        made = refuse_bad_path(self.path, create)
        with explained(self.path):
            self._writer = connect(self.path, create)
            try:
                prepare(self._writer, self.path, create)
                self._reader = connect(self.path, create=False)
            except BaseException:
                self._writer.close()
                raise
        if made:
            sync_folder(self.path.parent)
        self._file = self._file_now()
        self._appends = 0
        self._newest: Sequence[Record] = ()

    @property
    def partitions(self) -> int:
        """Always one."""
        return 1

    def identity(self) -> Identity:
        """Which log this is: read from the file that lies at the path now, which may be another one."""
        if self._file is not None and self._file_now() == self._file:
            # The file that is open. The writer, where it is free, need not read again what it wrote itself.
            is_free = self._lock.acquire(blocking=False)
            try:
                with explained(self.path):
                    return Identity(TOPIC, topic_id(self._writer if is_free else self._reader, self.path), 1)
            finally:
                if is_free:
                    self._lock.release()
        refuse_bad_path(self.path, create=False)
        with explained(self.path):
            connection = connect(self.path, create=False)
            try:
                return Identity(TOPIC, topic_id(connection, self.path), 1)
            finally:
                connection.close()

    def append(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        """Record all drafts in one transaction; the futures returned have their results.

        Raises ``LogUnavailable`` (a full disk, a lock held too long) or ``WrongUsage`` (a draft for another
        partition, a record too large): then none of them is recorded.
        """
        refuse_bad_drafts(drafts, self.partitions)
        if not drafts:
            return []
        self._refuse_replaced_file()
        with self._lock, explained(self.path):
            with immediate(self._writer) as connection:
                offset, recorded_at = _end(connection)
                recorded_at = max(recorded_at, self._clock())
                records = [
                    Record(0, offset + n, recorded_at, draft.key, draft.value, draft.headers)
                    for n, draft in enumerate(drafts)
                ]
                connection.executemany(_APPEND, map(_row, records))
            self._newest = records
            self._appends += 1
            if self._appends == _OFTEN:
                grow_write_ahead_log(self._writer, self.path)
        with self._appended:
            self._appended.notify_all()
        return [Recorded(Receipt(0, record.offset, recorded_at)) for record in records]

    def _file_now(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _refuse_replaced_file(self) -> None:
        if self._file_now() != self._file:
            raise LogChanged(
                f"{self.path} was moved away or replaced while it was open.",
                "Start again: what is recorded now would go to the old file.",
            )

    def read(self, partition: int, offset: int, *, most: int, wait_seconds: float = 0.0) -> Slice:
        """Up to ``most`` records, fewer where they are large; ``recorded_at`` in milliseconds."""
        refuse_bad_partition(partition, self.partitions)
        newest, self._newest = self._newest, ()
        if newest and newest[0].offset == offset and len(newest) <= most:
            return Slice(newest, newest[-1].offset + 1)  # what this process has just appended, byte for byte
        deadline = time.monotonic() + wait_seconds
        while True:
            records = self._records(offset, most)
            left = deadline - time.monotonic()
            if records or left <= 0 or most < 1:
                return Slice(records, records[-1].offset + 1 if records else offset)
            with self._appended:
                self._appended.wait(min(left, _LOOK_AGAIN_SECONDS))

    def _records(self, offset: int, most: int) -> list[Record]:
        with explained(self.path), snapshot(self._reader) as connection:
            first, end = _bounds(connection)
            if not first <= offset <= end:
                raise LogChanged(
                    f"{self.path} has no offset {offset}: it goes from {first} to {end}.",
                    "Another copy of the file lies there: put the right one back, or rebuild the index.",
                )
            return _within_budget(connection.execute(_READ, (offset, most)))

    def all_bounds(self) -> Sequence[tuple[int, int]]:
        """Those of its one partition."""
        return [self.bounds(0)]

    def bounds(self, partition: int) -> tuple[int, int]:
        """The offset of the first record kept (0 unless rows were cut away), and the next one given."""
        refuse_bad_partition(partition, self.partitions)
        with explained(self.path), snapshot(self._reader) as connection:
            return _bounds(connection)

    def close(self) -> None:
        """Close both connections; the last to close folds the write-ahead log into the file."""
        self._reader.close()
        with self._lock:
            self._writer.close()


def _row(record: Record) -> tuple[int, int, bytes | None, bytes | None, bytes]:
    return record.offset, record.recorded_at, record.key, record.value, headers_bytes(record.headers)


def _within_budget(rows: sqlite3.Cursor) -> list[Record]:
    records: list[Record] = []
    size = 0
    for offset, recorded_at, key, value, headers in rows:
        size += len(key or b"") + len(value or b"") + len(headers)
        if records and size > _MOST_SLICE_BYTES:
            break
        records.append(Record(0, offset, recorded_at, key, value, headers_from(headers)))
    return records


def _end(connection: sqlite3.Connection) -> tuple[int, int]:
    """The next offset, and the last record's ``recorded_at`` (0 without one)."""
    row = connection.execute("SELECT offset + 1, recorded_at FROM log_records ORDER BY offset DESC LIMIT 1").fetchone()
    return row or (0, 0)


def _bounds(connection: sqlite3.Connection) -> tuple[int, int]:
    (first,) = connection.execute("SELECT min(offset) FROM log_records").fetchone()
    return first or 0, _end(connection)[0]
