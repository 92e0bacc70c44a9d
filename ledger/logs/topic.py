"""The Kafka topic that is a ledger: making it, looking at it, and telling whether it can be one (protocol, section 2).

A topic can't be a ledger when it is compacted (records vanish) or when its time is the publishers' (they would set
the clock that all rules rest on). Other settings can be worse than they should be; ``describe_topic`` shows them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource

from ledger.errors import LogUnavailable, UnusableLog, WrongUsage
from ledger.logs.kafka_client import Settings, connected, explained, ledger_error
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity
from ledger.record import MOST_RECORD_BYTES

Found = TypeVar("Found")

LEDGER_SETTINGS: Mapping[str, str] = {
    "message.timestamp.type": "LogAppendTime",
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "unclean.leader.election.enable": "false",
    # What a publisher compresses with is its own affair: readers need no codec.
    "compression.type": "uncompressed",
    # A batch carries a header of its own, and several records.
    "max.message.bytes": str(MOST_RECORD_BYTES + 64 * 1024),
}
DURABLE_SETTINGS: Mapping[str, str] = {"flush.messages": "1", "min.insync.replicas": "2"}
DURABLE_REPLICAS = 3

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
"""What Kafka takes where nobody said otherwise: assumed where the credentials may not see the topic's settings."""

_TRY_AGAIN_SECONDS = 0.1
_MISSING_SECONDS = 2.0  # a broker learns of a new topic a moment after the one that was asked to make it
_UNKNOWN_TOPIC = 3


class TopicExists(WrongUsage):
    """A topic that was to be made is there."""


class TopicState(NamedTuple):
    """A topic as it is now. ``settings`` is empty where the credentials may not see it."""

    topic: str
    topic_id: str
    partitions: int
    replication: int
    in_sync: int
    brokers: int
    settings: Mapping[str, str]
    rights: frozenset[str] | None = None
    """What these credentials may do with the topic, such as ``READ``; null where the brokers don't say."""


class TopicDesk:
    """What is asked of the brokers about one topic, over one connection. Not thread-safe.

    Every call ends within ``timeout_seconds``: it tries again while a broker is away and others may answer.
    """

    def __init__(self, servers: str, topic: str, *, timeout_seconds: float, settings: Settings) -> None:
        self._servers = servers
        self._topic = topic
        self._timeout_seconds = timeout_seconds
        each_ms = max(1000, int(timeout_seconds * 1000 / 3))
        self._admin = connected(KafkaAdminClient, servers, timeout_seconds, request_timeout_ms=each_ms, **settings)

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def metadata(self) -> tuple[str, list[dict[str, Any]]]:
        """The topic's UUID and its partitions, as the brokers say now."""
        return self._identified(self._described())

    def is_known(self) -> bool:
        """Whether the broker that answers knows the topic now. All else here waits a moment for a new one."""
        return bool(self._found()["error_code"] != _UNKNOWN_TOPIC)

    def _described(self) -> dict[str, Any]:
        deadline = time.monotonic() + min(_MISSING_SECONDS, self._timeout_seconds)
        while (found := self._found())["error_code"] == _UNKNOWN_TOPIC and time.monotonic() < deadline:
            time.sleep(_TRY_AGAIN_SECONDS)
        return found

    def _found(self) -> dict[str, Any]:
        return self._asked(lambda: self._admin.describe_topics([self._topic])[0])

    def _identified(self, found: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
        if found["error_code"] or not found["partitions"]:
            raise ledger_error(kafka_errors.for_code(found["error_code"] or 3)(), self._topic, self._servers)
        if found["topic_id"] is None:
            raise UnusableLog(
                "These brokers give topics no id, so one made again can't be told.", "Use Kafka 2.8 or newer."
            )
        return str(found["topic_id"]), found["partitions"]

    def settings(self) -> dict[str, str]:
        """The topic's settings, defaults and all; empty where these credentials may not describe them."""
        resource = ConfigResource("topic", self._topic)
        found = self._asked(lambda: self._admin.describe_configs([resource], config_filter="all"))
        described = found.get("topic", {}).get(self._topic, {})
        return {name: str(config["value"]) for name, config in sorted(described.items())}

    def brokers(self) -> int:
        """How many brokers are up."""
        return len(self._asked(self._admin.describe_cluster)["brokers"])

    def state(self) -> TopicState:
        """All of it."""
        found = self._described()
        topic_id, partitions = self._identified(found)
        rights = found.get("authorized_operations")
        return TopicState(
            self._topic,
            topic_id,
            len(partitions),
            min(len(one["replica_nodes"]) for one in partitions),
            min(len(one["isr_nodes"]) for one in partitions),
            self.brokers(),
            self.settings(),
            None if rights is None else frozenset(rights),
        )

    def create(self, partitions: int, replication: int | None, settings: Mapping[str, str]) -> None:
        """Make the topic and wait until each partition has a leader."""
        wanted = {
            "num_partitions": partitions,
            "replication_factor": -1 if replication is None else replication,
            "configs": dict(settings),
        }
        try:
            with explained(self._topic, self._servers):
                self._admin.create_topics({self._topic: wanted})
                self._admin.wait_for_topics([self._topic], timeout_ms=int(self._timeout_seconds * 1000))
        except (LogUnavailable, UnusableLog) as error:
            raise self._why_not_created(error) from error.__cause__

    def _why_not_created(self, error: LogUnavailable | UnusableLog) -> Exception:
        cause = error.__cause__
        if isinstance(cause, kafka_errors.TopicAlreadyExistsError):
            return TopicExists(
                f"The topic {self._topic!r} is there already.", "Use it as it is, or choose another name."
            )
        if isinstance(cause, kafka_errors.AuthorizationError):
            return UnusableLog(
                f"These credentials may not create the topic {self._topic!r}.", "Grant them CREATE on it."
            )
        if isinstance(cause, kafka_errors.BrokerResponseError) and not cause.retriable:
            return WrongUsage(f"Kafka refused to create {self._topic!r}: {_said(cause)}")
        return error

    def _asked(self, ask: Callable[[], Found]) -> Found:
        deadline = time.monotonic() + self._timeout_seconds
        while True:
            try:
                return ask()
            except (kafka_errors.KafkaError, OSError) as error:
                retriable = getattr(error, "retriable", True)
                if not retriable or time.monotonic() + _TRY_AGAIN_SECONDS > deadline:
                    raise ledger_error(error, self._topic, self._servers) from error
                time.sleep(_TRY_AGAIN_SECONDS)  # a broker that refuses connections does so at once


def _said(error: kafka_errors.BrokerResponseError) -> str:
    """The broker's own sentence, out of the dump of request and response that kafka-python makes of it."""
    _, found, rest = str(error).partition("error_message=")
    quote, said = rest[:1], rest[1:]
    return said.partition(quote)[0] if found and quote in "'\"" else str(error.message)


def refuse_unusable(topic: str, settings: Mapping[str, str]) -> None:
    """Raises ``UnusableLog`` where the settings make a ledger impossible; unknown settings pass."""
    if "compact" in settings.get("cleanup.policy", "delete"):
        raise UnusableLog(
            f"The topic {topic!r} is compacted: records would vanish.",
            "Make another for the ledger with: pauseledger topic create",
        )
    if settings.get("message.timestamp.type", "LogAppendTime") != "LogAppendTime":
        raise UnusableLog(
            f"The topic {topic!r} has its publishers' times, not the broker's (message.timestamp.type).",
            "Make another for the ledger with: pauseledger topic create",
        )


@contextmanager
def _desk(servers: str, topic: str, timeout_seconds: float, security: KafkaSecurity) -> Iterator[TopicDesk]:
    desk = TopicDesk(servers, topic, timeout_seconds=timeout_seconds, settings=security.kafka_python())
    try:
        yield desk
    finally:
        desk.close()


def create_topic(
    bootstrap_servers: str,
    topic: str,
    partitions: int = 6,
    replication_factor: int | None = None,
    durable: bool = False,
    *,
    timeout_seconds: float = 30.0,
    security: KafkaSecurity = PLAINTEXT,
) -> dict[str, str]:
    """Make the ledger's topic; returns the settings that it was given.

    ``replication_factor``: the brokers' default unless told, 3 with ``durable``. Raises ``WrongUsage`` where the topic
    exists, where the brokers refuse, and with ``durable`` where they are fewer than 3.
    """
    chosen = {**LEDGER_SETTINGS, **(DURABLE_SETTINGS if durable else {})}
    with _desk(bootstrap_servers, topic, timeout_seconds, security) as desk:
        if durable:
            replication_factor = replication_factor or DURABLE_REPLICAS
            _refuse_too_few(desk.brokers(), replication_factor)
        desk.create(partitions, replication_factor, chosen)
    return chosen


def _refuse_too_few(brokers: int, replication_factor: int) -> None:
    if replication_factor < DURABLE_REPLICAS:
        raise WrongUsage(f"A durable topic has {DURABLE_REPLICAS} replicas or more.")
    if brokers < replication_factor:
        raise WrongUsage(
            f"A durable topic needs {replication_factor} brokers, and {brokers} run.",
            "Start more, or leave out --durable.",
        )


def describe_topic(
    bootstrap_servers: str, topic: str, *, timeout_seconds: float = 10.0, security: KafkaSecurity = PLAINTEXT
) -> TopicState:
    """The topic as it is. Raises ``UnusableLog`` where it is missing."""
    with _desk(bootstrap_servers, topic, timeout_seconds, security) as desk:
        return desk.state()


def describe_known_topic(
    bootstrap_servers: str, topic: str, *, timeout_seconds: float = 10.0, security: KafkaSecurity = PLAINTEXT
) -> TopicState | None:
    """The topic as it is, or null: at once, where a missing one is nothing wrong."""
    with _desk(bootstrap_servers, topic, timeout_seconds, security) as desk:
        return desk.state() if desk.is_known() else None


__all__ = [
    "DURABLE_SETTINGS",
    "LEDGER_SETTINGS",
    "TopicDesk",
    "TopicExists",
    "TopicState",
    "create_topic",
    "describe_known_topic",
    "describe_topic",
    "refuse_unusable",
]
