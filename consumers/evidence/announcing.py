"""Checkpoints onto ``TOPIC.checkpoints``: key the origin, value the note, on the partition that it is of.

Each is there at least once, the newest last; older ones go when the topic is compacted.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as NotYetError
from typing import Any

from ledger.errors import LogUnavailable
from ledger.log import Draft
from ledger.logs.kafka_writer import KafkaWriter
from ledger.logs.output_topics import make_checkpoints_topic
from ledger.record import MOST_RECORD_BYTES, Headers

TIMEOUT_SECONDS = 10.0
_HEADERS: Headers = (("content-type", b"text/plain; charset=utf-8"),)


class KafkaAnnouncer:
    """See :class:`consumers.evidence.notary.Announcer`. Makes the topic where it is absent."""

    def __init__(self, servers: str, ledger: str, connection: Mapping[str, Any]) -> None:
        self.topic = make_checkpoints_topic(servers, ledger, timeout_seconds=TIMEOUT_SECONDS, settings=connection)
        self._servers = servers
        self._writer = KafkaWriter(
            servers, self.topic, timeout_seconds=TIMEOUT_SECONDS, settings=connection, most_bytes=MOST_RECORD_BYTES
        )

    def announce(self, partition: int, origin: str, note: bytes) -> None:
        """Wait until the brokers have it; after a while it may come or not."""
        (sent,) = self._writer.append([Draft(partition, origin.encode(), note, _HEADERS)])
        try:
            sent.result(TIMEOUT_SECONDS)
        except NotYetError:
            raise LogUnavailable(
                f"Kafka at {self._servers} did not acknowledge a checkpoint on {self.topic!r} in time.",
                "See that all brokers run: it is sent again.",
            ) from None

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()
