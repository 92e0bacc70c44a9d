"""Checkpoints onto ``TOPIC.checkpoints``: key the origin, value the note, on the partition that it is of.

Each is there at least once, the newest last; older ones go when the topic is compacted.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as NotYetError
from contextlib import closing
from typing import Any

from ledger.errors import LogUnavailable
from ledger.log import Draft
from ledger.logs.kafka_emitter import last_committed
from ledger.logs.kafka_reader import KafkaReader
from ledger.logs.kafka_writer import KafkaWriter
from ledger.logs.output_topics import make_checkpoints_topic
from ledger.record import MOST_RECORD_BYTES, Headers

TIMEOUT_SECONDS = 10.0
_HEADERS: Headers = (("content-type", b"text/plain; charset=utf-8"),)


class KafkaAnnouncer:
    """See :class:`consumers.evidence.notary.Announcer`. Makes the topic where it is absent, when it is first asked."""

    def __init__(self, servers: str, ledger: str, connection: Mapping[str, Any]) -> None:
        self._servers = servers
        self._ledger = ledger
        self._connection = connection
        self._topic: str | None = None
        self._writer: KafkaWriter | None = None

    def announce(self, partition: int, origin: str, note: bytes) -> None:
        """Wait until the brokers have it; after a while it may come or not."""
        if self._writer is None:
            self._writer = KafkaWriter(
                self._servers,
                self._topic_now(),
                timeout_seconds=TIMEOUT_SECONDS,
                settings=self._connection,
                most_bytes=MOST_RECORD_BYTES,
            )
        (sent,) = self._writer.append([Draft(partition, origin.encode(), note, _HEADERS)])
        try:
            sent.result(TIMEOUT_SECONDS)
        except NotYetError:
            raise LogUnavailable(
                f"Kafka at {self._servers} did not acknowledge a checkpoint of {self._ledger!r} in time.",
                "See that all brokers run: it is sent again.",
            ) from None

    def newest(self, partition: int, origin: str) -> bytes | None:
        """The note announced last."""
        topic = self._topic_now()
        reader = KafkaReader(
            self._servers, topic, partition + 1, timeout_seconds=TIMEOUT_SECONDS, settings=self._connection
        )
        with closing(reader):
            found = last_committed(reader, partition, origin.encode())
        return None if found is None else found.value

    def _topic_now(self) -> str:
        if self._topic is None:
            self._topic = make_checkpoints_topic(
                self._servers, self._ledger, timeout_seconds=TIMEOUT_SECONDS, settings=self._connection
            )
        return self._topic

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
