"""The log on a Kafka topic, through confluent-kafka (librdkafka): what is asked of the brokers' topic stays with
kafka-python (:mod:`ledger.logs.topic`), so that there is one judge of what a ledger's topic must be.

What ``append`` promises is in :mod:`ledger.logs.confluent_writer`, what ``read`` promises in
:mod:`ledger.logs.confluent_reader`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.logs.confluent_client import library
from ledger.logs.confluent_reader import ConfluentReader
from ledger.logs.confluent_writer import ConfluentWriter
from ledger.logs.kafka import KafkaLog, Reader, Writer
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity


class ConfluentLog(KafkaLog):
    """The log on ``topic``; see :class:`ledger.logs.kafka.KafkaLog`. Raises ``WrongUsage`` without confluent-kafka."""

    def __init__(
        self,
        bootstrap_servers: str | Sequence[str],
        topic: str,
        *,
        timeout_seconds: float = 10.0,
        security: KafkaSecurity = PLAINTEXT,
    ) -> None:
        library()
        super().__init__(bootstrap_servers, topic, timeout_seconds=timeout_seconds, security=security)

    def _new_writer(self, most_bytes: int) -> Writer:
        return ConfluentWriter(
            self._servers,
            self._topic,
            timeout_seconds=self._timeout_seconds,
            settings=self._security.confluent(),
            most_bytes=most_bytes,
        )

    def _new_reader(self) -> Reader:
        return ConfluentReader(
            self._servers,
            self._topic,
            self._partitions,
            timeout_seconds=self._timeout_seconds,
            settings=self._security.confluent(),
            slow_reader=super()._new_reader,
        )
