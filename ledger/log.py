"""The log port: what the ledger asks of the thing that must not be lost.

A log has a fixed number of partitions; a record gets the next offset of its partition and the log's own time. One
file per backend under ``ledger/logs``; every backend passes ``tests/contract/test_log.py``.

The rules that every backend keeps:

1. When a future of :meth:`Log.append` has a result, the record survives whatever the backend promises to survive
   (a power cut for the SQLite file; for Kafka what the topic's settings say). A future is never given up: it resolves
   when the log has the record, fails when the record can never be recorded, and stays open in between.
2. Records appended by one caller to one partition keep their order.
3. ``read`` gives records in the order of offsets, byte for byte, never one that isn't committed, and says where to go
   on. Offsets may have gaps.
4. A log never pretends to be another: ``identity`` is asked anew from the log each time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ledger.record import Headers, Record


class Draft(NamedTuple):
    """A record that has no place on the log yet."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Receipt(NamedTuple):
    """Where the log put a draft, and when by its clock (milliseconds since 1970)."""

    partition: int
    offset: int
    recorded_at: int


class Recorded(Future[Receipt]):
    """The future of a receipt that is there already: made at a fraction of the cost of one that is resolved."""

    def __init__(self, receipt: Receipt) -> None:
        self._receipt = receipt

    def result(self, timeout: float | None = None) -> Receipt:  # noqa: ARG002
        return self._receipt

    def exception(self, timeout: float | None = None) -> None:  # noqa: ARG002
        return None

    def done(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        """For all else, such as waiting for several at once, it becomes what any other future is."""
        if name not in ("_condition", "_state", "_waiters", "_done_callbacks"):
            raise AttributeError(name)
        super().__init__()
        self.set_result(self._receipt)
        return self.__dict__[name]


class Identity(NamedTuple):
    """Which log this is. ``topic_id`` is new whenever a topic is made again under the same name."""

    topic: str
    topic_id: str
    partitions: int


class Slice(NamedTuple):
    """Some records of a partition. ``next_offset`` is where to read on: past gaps that hold no readable record."""

    records: Sequence[Record]
    next_offset: int


class Log(Protocol):
    """A ledger's log, opened. Not thread-safe but for ``append``."""

    @property
    def partitions(self) -> int:
        """The number of partitions that the log had when it was opened."""
        ...

    def identity(self) -> Identity:
        """Which log this is, asked from the log now. Raises ``LogUnavailable``, or ``UnusableLog`` when it's gone."""
        ...

    def append(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        """Put drafts on the log, in order; a future for each, in the same order (rule 1). Thread-safe."""
        ...

    def read(self, partition: int, offset: int, *, most: int, wait_seconds: float = 0.0) -> Slice:
        """Up to ``most`` records from ``offset`` on; waits up to ``wait_seconds`` for the first.

        Raises ``LogChanged`` when ``offset`` lies before the log's start or past its end.
        """
        ...

    def all_bounds(self) -> Sequence[tuple[int, int]]:
        """The :meth:`bounds` of every partition, asked for together."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """The offset of the first record kept, and the offset that the next record will get."""
        ...

    def close(self) -> None:
        """Wait for nothing: futures that are open stay open for ever."""
        ...


@runtime_checkable
class Waiting(Protocol):
    """What a log can do beside the port where it waits for several partitions at once. Others are asked in turns."""

    def ready(self, offsets: Mapping[int, int], *, wait_seconds: float = 0.0) -> Collection[int]:
        """The partitions of which ``read`` at these offsets gives something at once; waits up to ``wait_seconds``.

        The others are not followed any longer. Raises as ``read``; where nothing comes it may not notice that the log
        is away.
        """
        ...
