"""The log on a Kafka topic, through kafka-python.

Readers need no producer and publishers no consumer: each connects when it is first needed. What ``append`` promises is
in :mod:`ledger.logs.kafka_writer`, what ``read`` promises in :mod:`ledger.logs.kafka_reader`, what a topic must be in
:mod:`ledger.logs.topic`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Protocol

from ledger.log import Draft, Identity, Receipt, Slice
from ledger.logs.kafka_reader import KafkaReader
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity
from ledger.logs.kafka_writer import KafkaWriter
from ledger.logs.limits import refuse_bad_drafts, refuse_bad_partition
from ledger.logs.topic import DEFAULT_MAX_MESSAGE_BYTES, TopicDesk, refuse_unusable


class Writer(Protocol):
    """What appends to a topic, through one library or another."""

    def append(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]: ...

    def close(self) -> None: ...


class Reader(Protocol):
    """What reads a topic."""

    def read(self, partition: int, offset: int, most: int, wait_seconds: float) -> Slice: ...

    def ready(self, offsets: Mapping[int, int], wait_seconds: float) -> Collection[int]: ...

    def bounds(self, partition: int) -> tuple[int, int]: ...

    def all_bounds(self, partitions: Iterable[int]) -> Sequence[tuple[int, int]]: ...

    def close(self) -> None: ...


class KafkaLog:
    """The log on ``topic``. ``bootstrap_servers`` is ``HOST:PORT[,HOST:PORT]``.

    Opening asks the brokers, and raises ``LogUnavailable`` when none answers within ``timeout_seconds`` (which bounds
    each later question as well), ``UnusableLog`` where the topic is missing or can't be a ledger.
    """

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        *,
        timeout_seconds: float = 10.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        self._servers = bootstrap_servers if isinstance(bootstrap_servers, str) else ",".join(bootstrap_servers)
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._security = security
        self._desk = TopicDesk(self._servers, topic, timeout_seconds=timeout_seconds, settings=security.kafka_python())
        try:
            self._partitions = self.identity().partitions
            found = self._desk.settings()
            refuse_unusable(topic, found)
        except BaseException:
            self._desk.close()
            raise
        self._writer = self._new_writer(int(found.get("max.message.bytes", DEFAULT_MAX_MESSAGE_BYTES)))
        self._reader = self._new_reader()

    def _new_writer(self, most_bytes: int) -> Writer:
        return KafkaWriter(
            self._servers,
            self._topic,
            timeout_seconds=self._timeout_seconds,
            settings=self._security.kafka_python(),
            most_bytes=most_bytes,
        )

    def _new_reader(self) -> Reader:
        return KafkaReader(
            self._servers,
            self._topic,
            self._partitions,
            timeout_seconds=self._timeout_seconds,
            settings=self._security.kafka_python(),
        )

    @property
    def partitions(self) -> int:
        """The number of partitions that the topic had when it was opened."""
        return self._partitions

    def identity(self) -> Identity:
        """Which topic lies there, asked from the brokers now."""
        topic_id, partitions = self._desk.metadata()
        return Identity(self._topic, topic_id, len(partitions))

    def append(self, drafts: Sequence[Draft]) -> Sequence[Future[Receipt]]:
        """Send drafts; blocks, for at most the timeout, while too much waits to be recorded.

        The futures resolve on the producer's thread: a callback must be quick. Raises ``LogUnavailable`` or
        ``WrongUsage`` with nothing sent.
        """
        refuse_bad_drafts(drafts, self._partitions)
        return self._writer.append(drafts)

    def read(self, partition: int, offset: int, *, most: int, wait_seconds: float = 0.0) -> Slice:
        """See the port; an empty slice means that its ``next_offset`` was the end."""
        refuse_bad_partition(partition, self._partitions)
        return self._reader.read(partition, offset, most, wait_seconds)

    def ready(self, offsets: Mapping[int, int], *, wait_seconds: float = 0.0) -> Collection[int]:
        """See :class:`ledger.log.Waiting`."""
        for partition in offsets:
            refuse_bad_partition(partition, self._partitions)
        return self._reader.ready(offsets, wait_seconds)

    def bounds(self, partition: int) -> tuple[int, int]:
        """The first offset kept, and the end of what is committed: an open transaction holds it back."""
        refuse_bad_partition(partition, self._partitions)
        return self._reader.bounds(partition)

    def all_bounds(self) -> Sequence[tuple[int, int]]:
        """The :meth:`bounds` of every partition, in as few questions as brokers lead them."""
        return self._reader.all_bounds(range(self._partitions))

    def close(self) -> None:
        """Close all connections; what is unsent is dropped, and its futures stay open."""
        with ExitStack() as closing:  # each is closed, whatever a frozen broker makes of the others
            closing.callback(self._desk.close)
            closing.callback(self._reader.close)
            closing.callback(self._writer.close)
