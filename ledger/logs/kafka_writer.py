"""Appending to a Kafka topic: one idempotent producer that never gives up a record.

kafka-python's own deadline is switched off: once a batch expires in the client its idempotence is gone, and the record
may be on the log although its future failed. So a future stays open until the log has the record, and the publisher
owns the deadline. What fails, fails for good; what nobody knows stays open.

One error that kafka-python takes for fatal makes it fail all that it still holds, with that same error, even what is
on its way and may be recorded. So a record too large for the topic is refused before it is sent, a refusal is believed
only of a producer that never got a record through, and a producer that failed is replaced.

Nothing in kafka-python bounds what waits to be sent, so it is bounded here: at ``MOST_PENDING_BYTES`` ``append``
blocks, and gives up with nothing sent after ``timeout_seconds``.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from ledger.errors import LedgerError, LogUnavailable, UnusableLog, WrongUsage
from ledger.log import Draft, Receipt
from ledger.logs.kafka_client import Settings, connected
from ledger.logs.limits import draft_size
from ledger.record import MOST_RECORD_BYTES

MOST_PENDING_BYTES = 64 * 1024 * 1024

_OVERHEAD_BYTES = 1024
"""What a small record costs in memory until it is acknowledged, beside its bytes."""
_FOR_EVER_MS = 2_000_000_000
_BATCH_BYTES = 128 * 1024

_RECORD_BYTES = 256
"""What a batch of one record takes on the wire beside key, value and headers, at most."""

_NEVER_RECORDED: tuple[tuple[type[Exception], str, str], ...] = (
    (kafka_errors.AuthorizationError, "may not be written with these credentials", "Grant them WRITE on it."),
    (kafka_errors.InvalidRecordError, "refused a record", "See the broker's log."),
    (kafka_errors.PolicyViolationError, "refused a record by the brokers' policy", "See the broker's log."),
)


class Room:
    """How many bytes may wait to be recorded, and how many do. ``take`` is called by one thread at a time."""

    def __init__(self, servers: str, timeout_seconds: float) -> None:
        self._servers = servers
        self._timeout_seconds = timeout_seconds
        self._taken = 0
        self._changed = threading.Condition()
        self._is_waited_for = False

    def take(self, size: int) -> None:
        """Wait for room. A batch larger than all of it goes when nothing else waits. Raises ``LogUnavailable``."""
        with self._changed:
            self._is_waited_for = True
            free = self._changed.wait_for(
                lambda: self._taken == 0 or self._taken + size <= MOST_PENDING_BYTES, self._timeout_seconds
            )
            self._is_waited_for = False
            if not free:
                raise LogUnavailable(
                    f"Kafka at {self._servers} takes nothing: {self._taken} bytes wait to be recorded.",
                    "Nothing of this batch was sent: try again when the brokers answer.",
                )
            self._taken += size

    def give(self, size: int) -> None:
        """What was taken is free again. Thread-safe."""
        with self._changed:
            self._taken -= size
            if self._is_waited_for:
                self._changed.notify_all()


class KafkaWriter:
    """Appends drafts to ``topic``, whose ``max.message.bytes`` is ``most_bytes``. Thread-safe.

    The producer is made at the first append.
    """

    def __init__(
        self, servers: str, topic: str, *, timeout_seconds: float, settings: Settings, most_bytes: int
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        self._settings = settings
        self._most_bytes = most_bytes
        self._got_through = False
        self._lock = threading.Lock()
        self._producer: KafkaProducer | None = None
        self._abandoned: KafkaProducer | None = None
        self._room = Room(servers, timeout_seconds)

    def append(self, drafts: Sequence[Draft]) -> list[Future[Receipt]]:
        """A future for each, which resolves or fails on the producer's thread."""
        for draft in drafts:
            refuse_inexpressible(draft)
            refuse_too_large(draft, self._topic, self._most_bytes)
        sizes = [size_in_memory(draft) for draft in drafts]
        with self._lock:
            producer = self._producer_now()
            self._room.take(sum(sizes))
            return [self._send(producer, draft, size) for draft, size in zip(drafts, sizes, strict=True)]

    def close(self) -> None:
        """Drop what is unsent; its futures stay open."""
        with self._lock:
            for producer in (self._producer, self._abandoned):
                if producer is not None:
                    producer.flush = _flush_nothing  # its close does, and where something is open it raises and goes on
                    producer.close(timeout=0)
            self._producer = self._abandoned = None

    def _producer_now(self) -> KafkaProducer:
        if self._producer is None:
            self._producer = connected(
                KafkaProducer,
                self._servers,
                self._timeout_seconds,
                enable_idempotence=True,
                acks="all",
                delivery_timeout_ms=_FOR_EVER_MS,
                max_block_ms=int(self._timeout_seconds * 1000),
                max_request_size=MOST_RECORD_BYTES + 64 * 1024,
                batch_size=min(_BATCH_BYTES, self._most_bytes),
                allow_auto_create_topics=False,
                metrics_enabled=False,
                **self._settings,
            )
        return self._producer

    def _send(self, producer: KafkaProducer, draft: Draft, size: int) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # what is sent can't be called back
        try:
            sent = producer.send(
                self._topic,
                value=draft.value,
                key=draft.key,
                headers=list(draft.headers),
                partition=draft.partition,
            )
        except (kafka_errors.KafkaError, AssertionError, OSError) as error:
            self._room.give(size)
            self._abandon(producer)
            future.set_exception(self._unsent(error))
            return future
        sent.add_callback(self._recorded, draft.partition, size, future)
        sent.add_errback(self._failed, producer, size, future)
        return future

    def _recorded(self, partition: int, size: int, future: Future[Receipt], found: Any) -> None:
        self._room.give(size)
        self._got_through = True
        # A batch that the broker knows for a repetition, and no longer where it lies, has no offset to tell.
        if found.offset >= 0:
            future.set_result(Receipt(partition, found.offset, found.timestamp))

    def _failed(self, producer: KafkaProducer, size: int, future: Future[Receipt], error: Exception) -> None:
        self._room.give(size)
        self._abandon(producer)  # it may never send again
        never = None if self._got_through else self._never_recorded(error)
        if never is not None:
            future.set_exception(never)

    def _abandon(self, producer: KafkaProducer) -> None:
        """Let the next append have a new producer. Runs on the old one's thread, so it is closed later."""
        if self._producer is producer:
            self._producer, self._abandoned = None, producer
            self._got_through = False

    def _never_recorded(self, error: Exception) -> LedgerError | None:
        for kind, problem, advice in _NEVER_RECORDED:
            if isinstance(error, kind):
                return UnusableLog(f"The topic {self._topic!r} {problem}.", advice)
        return None

    def _unsent(self, error: Exception) -> LedgerError:
        return LogUnavailable(
            f"Kafka at {self._servers} could not be sent to ({type(error).__name__}).", "Try again later."
        )


def _flush_nothing(timeout: float | None = None) -> None:
    """Of a producer that is closed without waiting."""


def refuse_inexpressible(draft: Draft) -> None:
    """A null header and a record with neither key nor value: kafka-python can read them, but not write."""
    if draft.key is None and draft.value is None:
        raise WrongUsage("A record needs a key or a value.")
    if any(value is None for _, value in draft.headers):
        raise WrongUsage("A header of a record that is appended needs a value.")


def refuse_too_large(draft: Draft, topic: str, most_bytes: int) -> None:
    """Raises ``WrongUsage`` for a record that the topic would refuse."""
    size = draft_size(draft) + _RECORD_BYTES + 16 * len(draft.headers)
    if size > most_bytes:
        raise WrongUsage(
            f"A record of {size} bytes is larger than the topic {topic!r} takes ({most_bytes}).",
            "Raise its max.message.bytes.",
        )


def size_in_memory(draft: Draft) -> int:
    """What a draft takes of the room until it is recorded."""
    return draft_size(draft) + _OVERHEAD_BYTES
