"""Connections to Kafka: opened within a bound or not at all, and what kafka-python's errors mean to a person.

``settings`` everywhere are kafka-python's own connection settings (``security_protocol``, ``sasl_mechanism``,
``ssl_cafile`` …), handed on as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from ledger.errors import LedgerError, LogUnavailable, UnusableLog

Settings = Mapping[str, Any]
Client = TypeVar("Client")

_RECONNECT_MS = 1000
"""How long at most until a broker that was away is tried again; kafka-python's own 30 s outlast every deadline here."""
_REACH = "See that the address and the credentials are right and that a broker runs there."


def quieten_kafka() -> None:
    """Keep kafka-python's log off a terminal, where its news are said in our one line; unless someone asked for it."""
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET and not logging.getLogger().handlers:
        logger.setLevel(logging.CRITICAL)


def connected(kind: Callable[..., Client], servers: str, timeout_seconds: float, **settings: Any) -> Client:
    """``kind(**settings)``, connected; raises ``LogUnavailable`` after ``timeout_seconds``.

    kafka-python's constructors leave a thread behind that tries for ever when they fail: it is ended here.
    """
    quieten_kafka()
    made: list[KafkaNetClient] = []

    def remembered(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[-1]

    try:
        return kind(
            bootstrap_servers=servers.split(","),
            bootstrap_timeout_ms=int(timeout_seconds * 1000),
            kafka_client=remembered,
            **{"reconnect_backoff_max_ms": _RECONNECT_MS, **settings},
        )
    except BaseException as error:
        for client in made:
            _end(client)
        if isinstance(error, (kafka_errors.KafkaError, OSError)):
            raise LogUnavailable(
                f"No Kafka broker at {servers} answered within {timeout_seconds:g} s.", _REACH
            ) from error
        raise


def _end(client: KafkaNetClient) -> None:
    with suppress(Exception):
        client.close()
    with suppress(Exception):
        client._manager._net.stop()


def missing_topic(topic: str) -> UnusableLog:
    """The error for a topic that isn't there, or that these credentials may not see."""
    return UnusableLog(f"There is no topic {topic!r}.", "Make it with: pauseledger topic create")


_UNUSABLE: tuple[tuple[type[Exception], str, str], ...] = (
    (kafka_errors.AuthorizationError, "may not be used by these credentials", "Grant them READ and WRITE on it."),
    (kafka_errors.UnsupportedCodecError, "holds records in a compression that can't be read here",
     "Install lz4, zstandard or python-snappy, and set the topic's compression.type to uncompressed."),
    (kafka_errors.CorruptRecordError, "holds a damaged record", "Check the disks of its brokers."),
)  # fmt: skip


def ledger_error(error: Exception, topic: str, servers: str) -> LedgerError:
    """What an error of kafka-python means for the log on ``topic``."""
    if isinstance(error, kafka_errors.UnknownTopicOrPartitionError):
        return missing_topic(topic)
    for kind, problem, advice in _UNUSABLE:
        if isinstance(error, kind):
            return UnusableLog(f"The topic {topic!r} {problem}.", advice)
    return LogUnavailable(f"Kafka at {servers} did not answer ({type(error).__name__}).", _REACH)


@contextmanager
def explained(topic: str, servers: str) -> Iterator[None]:
    """kafka-python's errors inside become the ledger's."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError) as error:
        raise ledger_error(error, topic, servers) from error
