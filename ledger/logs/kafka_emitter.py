"""Writing to the topics beside a ledger, in transactions: one emitter a partition, and only the newest one counts.

A transactional id belongs to a partition. Whoever opens an emitter with it fences every other that still holds it,
ends what that one had begun, and only then reads how far the partition's output goes. So what was emitted is decided
by the brokers, never by a lease or a clock: a process that was frozen and wakes writes nothing any more.

kafka-python needs three things watched. Where a fenced producer's records are refused it asks for a new epoch by
itself and may then call an empty commit a success: so each record's own acknowledgement is looked at before a commit.
It waits for the end of a transaction without a deadline: here all waits have one. And it keeps trying after it was
closed with records unsent: its thread is told to drop them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka import errors as kafka_errors

from ledger.errors import Fenced, LedgerError, LogUnavailable, UnusableLog
from ledger.logs.kafka_client import Settings, connected, ledger_error
from ledger.logs.kafka_reader import KafkaReader
from ledger.record import Headers, Record

MOST_OUTPUT_BYTES = 16 * 1024 * 1024
"""What one record of an output topic may have: a malformed entry's verdict says again what the entry said."""
_TRANSACTION_SECONDS = 30
"""After so long the brokers abort a transaction whose emitter died, if no other emitter has come."""
_BACKOFF_MS = 5
"""kafka-python sleeps so long between the steps of a transaction; at its own 100 ms each costs 80 ms."""
_BATCH_BYTES = 256 * 1024
_FOR_EVER_MS = 2_000_000_000
_FENCING = (kafka_errors.ProducerFencedError, kafka_errors.InvalidProducerEpochError)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)
_FIRST_STRIDE = 16


class Output(NamedTuple):
    """A record to emit; its partition is the emitter's."""

    topic: str
    key: bytes | None
    value: bytes
    headers: Headers = ()


class Emitter:
    """Emits to one partition. Not thread-safe. After any error but ``close`` it does nothing more: open another.

    ``settings`` are kafka-python's own connection settings. Opening one raises ``LogUnavailable`` when the brokers
    don't answer within ``timeout_seconds``, and ``UnusableLog`` where they refuse.
    """

    def __init__(
        self, servers: str, transactional_id: str, partition: int, *, timeout_seconds: float, settings: Settings
    ) -> None:
        self._servers = servers
        self._transactional_id = transactional_id
        self._partition = partition
        self._timeout_seconds = timeout_seconds
        self._sent: list[Any] = []
        self._ending: Any = None
        self._producer = connected(
            KafkaProducer,
            servers,
            timeout_seconds,
            transactional_id=transactional_id,
            transaction_timeout_ms=_TRANSACTION_SECONDS * 1000,
            enable_idempotence=True,
            acks="all",
            retry_backoff_ms=_BACKOFF_MS,
            delivery_timeout_ms=_FOR_EVER_MS,
            max_block_ms=int(timeout_seconds * 1000),
            max_request_size=MOST_OUTPUT_BYTES,
            batch_size=_BATCH_BYTES,
            allow_auto_create_topics=False,
            metrics_enabled=False,
            **settings,
        )
        try:
            self._producer.init_transactions()
        except BaseException as error:
            self.close()
            raise self._explained(error) from error

    def send(self, outputs: Sequence[Output]) -> None:
        """Begin a transaction and send these; they count after :meth:`settle`. Raises as :meth:`settle`."""
        try:
            self._producer.begin_transaction()
            self._sent = [
                self._producer.send(
                    one.topic,
                    value=one.value,
                    key=one.key,
                    headers=list(one.headers),
                    partition=self._partition,
                )
                for one in outputs
            ]
        except Exception as error:
            raise self._explained(error) from error

    def end(self) -> None:
        """Begin the commit, once every record was acknowledged. Raises as :meth:`settle`."""
        try:
            self._producer.flush(self._timeout_seconds)
            for sent in self._sent:
                sent.get(timeout=self._timeout_seconds)
            # As commit_transaction() does, which then waits for ever.
            self._ending = self._producer._transaction_manager.begin_commit()
            self._producer._sender.wakeup()
        except Exception as error:
            raise self._explained(error) from error

    def settle(self) -> None:
        """Wait for the commit: what was sent is emitted, all of it.

        Raises ``Fenced`` when another emitter holds the partition now, ``LogUnavailable`` when nobody knows whether
        it was committed: whoever opens the next emitter reads it from the topic.
        """
        try:
            if not self._ending.wait(timeout_ms=self._timeout_seconds * 1000):
                raise kafka_errors.KafkaTimeoutError("the commit was not answered")
        except Exception as error:
            raise self._explained(error) from error

    def close(self) -> None:
        """Drop what isn't committed: the next emitter, or the brokers, abort it."""
        with suppress(Exception):
            self._producer._sender.force_close()
            self._producer._sender.wakeup()
        with suppress(Exception):
            self._producer.close(timeout=1)

    def _explained(self, error: BaseException) -> BaseException:
        if isinstance(error, LedgerError) or not isinstance(error, Exception):
            return error
        manager = self._producer._transaction_manager
        if isinstance(error, _FENCING) or isinstance(manager.last_error, _FENCING):
            return Fenced(f"Another emitter has taken over {self._transactional_id}.")
        if isinstance(error, kafka_errors.TransactionalIdAuthorizationFailedError):
            return UnusableLog(
                f"These credentials may not use the transactional id {self._transactional_id!r}.",
                "Grant them WRITE and DESCRIBE on transactional ids that begin with pauseledger-.",
            )
        if isinstance(error, _TOO_LARGE):
            return UnusableLog(
                f"A record is larger than the topics beside the ledger take: {error}",
                f"Set max.message.bytes={MOST_OUTPUT_BYTES} on them.",
            )
        if isinstance(error, (kafka_errors.KafkaError, OSError)):
            return self._unavailable(error)
        return error

    def _unavailable(self, error: Exception) -> LedgerError:
        found = ledger_error(error, self._transactional_id, self._servers)
        if isinstance(found, UnusableLog) and isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
            return LogUnavailable("A topic beside the ledger is gone.", "It is made again when the job starts again.")
        return found


def last_committed(reader: KafkaReader, partition: int, key: bytes | None = None) -> Record | None:
    """The last committed record of a partition, with this key where one is given; null where there is none.

    Behind the last record lie markers, and what was aborted: it is looked for in growing strides from the end.
    Raises ``LogUnavailable``.
    """
    first, end = reader.bounds(partition)
    upto, stride = end, _FIRST_STRIDE
    while upto > first:
        start = max(first, end - stride)
        found = [one for one in _records_between(reader, partition, start, upto) if key is None or one.key == key]
        if found:
            return found[-1]
        upto, stride = start, stride * 4
    return None


def _records_between(reader: KafkaReader, partition: int, start: int, end: int) -> list[Record]:
    records: list[Record] = []
    give_up = time.monotonic() + 120
    while start < end:
        read = reader.read(partition, start, 4_096, 1.0)
        records += [one for one in read.records if one.offset < end]
        if not read.records and read.next_offset == start:
            break  # the end of what is committed
        start = read.next_offset
        if time.monotonic() > give_up:
            raise LogUnavailable(f"Partition {partition} could not be read to its end.", "See that all brokers run.")
    return records
