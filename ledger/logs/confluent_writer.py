"""Appending to a Kafka topic through librdkafka: one idempotent producer that never gives up a record.

Its own deadline is switched off (``message.timeout.ms=0``): after a client-side expiry idempotence is gone, and the
record may be on the log although its future failed. So a future stays open until the log has the record, and the
publisher owns the deadline. What fails, fails for good; what nobody knows stays open. A refusal is believed only of a
producer that never got a record through: later it may be the answer to the repetition of one that was recorded.

What waits to be sent is bounded here, as for kafka-python: at ``MOST_PENDING_BYTES`` ``append`` blocks, and gives up
with nothing sent after ``timeout_seconds``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from ledger.errors import LedgerError, LogUnavailable, UnusableLog, WrongUsage
from ledger.log import Draft, Receipt
from ledger.logs.confluent_client import Troubles, client_settings, library
from ledger.logs.kafka_writer import Room, refuse_inexpressible, refuse_too_large, size_in_memory
from ledger.record import MOST_RECORD_BYTES

_BATCH_BYTES = 512 * 1024
_LINGER_MS = 1
"""How long a record waits for company: without it every record of a batch would travel alone."""
_POLL_SECONDS = 0.5
_CLOSE_SECONDS = 5.0

_NEVER_RECORDED: dict[str, tuple[str, str]] = {
    "TOPIC_AUTHORIZATION_FAILED": ("may not be written with these credentials", "Grant them WRITE on it."),
    "CLUSTER_AUTHORIZATION_FAILED": ("may not be written with these credentials", "Grant them WRITE on it."),
    "INVALID_RECORD": ("refused a record", "See the broker's log."),
    "POLICY_VIOLATION": ("refused a record by the brokers' policy", "See the broker's log."),
}


class _Producer:
    """librdkafka's producer, and the thread that hands out what the brokers say of its records."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._library = library()
        self._producer = self._library.Producer(dict(settings))
        self._closing = threading.Event()
        self.got_through = False
        self._thread = threading.Thread(target=self._listen, name="ledger-confluent-writer", daemon=True)
        self._thread.start()

    def produce(self, topic: str, draft: Draft, on_delivery: Any) -> None:
        self._producer.produce(
            topic,
            value=draft.value,
            key=draft.key,
            partition=draft.partition,
            headers=list(draft.headers) or None,
            on_delivery=on_delivery,
        )

    def close(self) -> None:
        """Drop what is unsent. Not on the listening thread."""
        if not self._closing.is_set():
            self._closing.set()
            self._producer.purge(blocking=False)
            self._thread.join(_CLOSE_SECONDS)

    def _listen(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(_POLL_SECONDS)
        self._producer.poll(0)


class ConfluentWriter:
    """Appends drafts to ``topic``, whose ``max.message.bytes`` is ``most_bytes``. Thread-safe.

    ``settings`` are librdkafka's own. The producer is made at the first append.
    """

    def __init__(
        self, servers: str, topic: str, *, timeout_seconds: float, settings: Mapping[str, Any], most_bytes: int
    ) -> None:
        self._servers = servers
        self._topic = topic
        self._settings = settings
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._producer: _Producer | None = None
        self._failed_one: _Producer | None = None
        self._room = Room(servers, timeout_seconds)

    def append(self, drafts: Sequence[Draft]) -> list[Future[Receipt]]:
        """A future for each, which resolves or fails on the producer's thread."""
        for draft in drafts:
            refuse_inexpressible(draft)
            _refuse_inexpressible_names(draft)
            refuse_too_large(draft, self._topic, self._most_bytes)
        sizes = [size_in_memory(draft) for draft in drafts]
        with self._lock:
            self._close_failed()
            producer = self._producer_now()
            self._room.take(sum(sizes))
            return [self._send(producer, draft, size) for draft, size in zip(drafts, sizes, strict=True)]

    def close(self) -> None:
        """Drop what is unsent; its futures stay open."""
        with self._lock:
            self._close_failed()
            producer, self._producer = self._producer, None
            if producer is not None:
                producer.close()

    def _producer_now(self) -> _Producer:
        if self._producer is None:
            self._producer = _Producer(
                {
                    **client_settings(self._servers, self._settings, Troubles()),
                    "enable.idempotence": True,
                    "acks": "all",
                    "message.timeout.ms": 0,
                    "message.max.bytes": MOST_RECORD_BYTES + 64 * 1024,
                    "batch.size": min(_BATCH_BYTES, self._most_bytes),
                    "linger.ms": _LINGER_MS,
                    # Its own bounds would fail a record in the middle of a batch: ours come before.
                    "queue.buffering.max.messages": 0,
                    "queue.buffering.max.kbytes": 2_147_483_647,
                }
            )
        return self._producer

    def _send(self, producer: _Producer, draft: Draft, size: int) -> Future[Receipt]:
        future: Future[Receipt] = Future()
        future.set_running_or_notify_cancel()  # what is sent can't be called back
        try:
            producer.produce(self._topic, draft, partial(self._told, producer, size, future))
        except (library().KafkaException, BufferError, ValueError) as error:
            self._room.give(size)
            self._abandon(producer)
            future.set_exception(
                LogUnavailable(f"Kafka at {self._servers} could not be sent to ({error}).", "Try again later.")
            )
        return future

    def _told(self, producer: _Producer, size: int, future: Future[Receipt], error: Any, message: Any) -> None:
        """What the brokers said of a record; on the producer's thread."""
        self._room.give(size)
        if error is not None:
            self._failed(producer, future, error)
            return
        producer.got_through = True
        kind, milliseconds = message.timestamp()
        # A batch that the broker knows for a repetition, and no longer where it lies, has no offset to tell; and a
        # time that is not the broker's is no receipt: readers refuse such a log.
        if message.offset() >= 0 and kind == library().TIMESTAMP_LOG_APPEND_TIME:
            future.set_result(Receipt(message.partition(), message.offset(), milliseconds))

    def _failed(self, producer: _Producer, future: Future[Receipt], error: Any) -> None:
        never = None if producer.got_through else self._never_recorded(error)
        if error.fatal() or error.name() == "_FATAL":
            self._abandon(producer)
        if never is not None:
            future.set_exception(never)

    def _abandon(self, producer: _Producer) -> None:
        """Let the next append have a new producer. May run on the old one's thread, so it is closed later."""
        if self._producer is producer:
            self._producer, self._failed_one = None, producer

    def _close_failed(self) -> None:
        failed, self._failed_one = self._failed_one, None
        if failed is not None:
            failed.close()

    def _never_recorded(self, error: Any) -> LedgerError | None:
        if error.name() not in _NEVER_RECORDED:
            return None
        problem, advice = _NEVER_RECORDED[error.name()]
        return UnusableLog(f"The topic {self._topic!r} {problem}.", advice)


def _refuse_inexpressible_names(draft: Draft) -> None:
    """librdkafka's names of headers end at a zero byte, and the binding's are text."""
    for name, _ in draft.headers:
        if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
            raise WrongUsage(f"The header name {name!r} can't be sent.", "Use text without a zero character.")
