"""A log in memory, for tests whose subject is not the log."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from ledger.cloudevents import STRUCTURED_HEADERS
from ledger.log import Draft, Identity, Receipt, Slice
from ledger.record import Headers, Record


class MemoryLog:
    """One partition; the records are in ``records``, to be looked at and changed."""

    partitions = 1

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.now_ms = 1_774_688_400_000

    def add(self, key: bytes | None, value: bytes | None, headers: Headers = STRUCTURED_HEADERS) -> Record:
        """Record one; a millisecond later than the one before."""
        self.now_ms += 1
        self.records.append(Record(0, len(self.records), self.now_ms, key, value, headers))
        return self.records[-1]

    def identity(self) -> Identity:
        return Identity("log", "00000000-0000-0000-0000-000000000000", 1)

    def append(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        futures: list[Future[Receipt]] = []
        for draft in drafts:
            record = self.add(draft.key, draft.value, draft.headers)
            futures.append(Future())
            futures[-1].set_result(Receipt(0, record.offset, record.recorded_at))
        return futures

    def read(self, partition: int, offset: int, *, most: int, wait_seconds: float = 0.0) -> Slice:
        found = self.records[offset : offset + most]
        return Slice(found, offset + len(found))

    def all_bounds(self) -> Sequence[tuple[int, int]]:
        return [self.bounds(partition) for partition in range(self.partitions)]

    def bounds(self, partition: int) -> tuple[int, int]:
        return 0, len(self.records)

    def close(self) -> None:
        """Nothing to close."""
