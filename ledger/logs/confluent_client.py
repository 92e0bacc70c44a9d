"""confluent-kafka, imported only when its log is used, and what librdkafka's errors mean to a person."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ledger.errors import LedgerError, LogUnavailable, UnusableLog, WrongUsage
from ledger.logs.kafka_client import missing_topic

_EXTRA = "Install it: pip install 'pauseledger[confluent]'. Or use kafka://, which needs nothing more."
_RECONNECT_MS = 1000

_MISSING = ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID")
_REFUSED = ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM")
_UNUSABLE: dict[str, tuple[str, str]] = {
    "TOPIC_AUTHORIZATION_FAILED": ("may not be used by these credentials", "Grant them READ and WRITE on it."),
    "CLUSTER_AUTHORIZATION_FAILED": ("may not be used by these credentials", "Grant them READ and WRITE on it."),
    "_BAD_COMPRESSION": (
        "holds records in a compression that can't be read here",
        "Set the topic's compression.type to uncompressed.",
    ),
    "_BAD_MSG": ("holds a damaged record", "Check the disks of its brokers."),
    "INVALID_MSG": ("holds a damaged record", "Check the disks of its brokers."),
}


def library() -> Any:
    """The package ``confluent_kafka``. Raises ``WrongUsage`` where it is missing."""
    try:
        import confluent_kafka
    except ImportError as error:
        raise WrongUsage("kafka+confluent:// needs confluent-kafka, which is not installed.", _EXTRA) from error
    return confluent_kafka


class Troubles:
    """librdkafka's news of connections that failed: the last is kept, and told when something was in vain."""

    def __init__(self) -> None:
        self.last: Any = None

    def __call__(self, error: Any) -> None:
        self.last = error


def client_settings(servers: str, security: Mapping[str, Any], troubles: Troubles) -> dict[str, Any]:
    """What every client here is set up with.

    librdkafka writes its log on stderr, where its news are said in our one line; unless someone asked for it, by
    setting up Python's logging.
    """
    logger = logging.getLogger("confluent_kafka")
    logs: dict[str, Any] = {"logger": logger} if logger.hasHandlers() else {"log_level": 0}
    return {
        "bootstrap.servers": servers,
        "reconnect.backoff.max.ms": _RECONNECT_MS,
        "allow.auto.create.topics": False,
        "error_cb": troubles,
        **logs,
        **security,
    }


def ledger_error(error: Any, topic: str, servers: str) -> LedgerError:
    """What a ``KafkaError`` means for the log on ``topic``."""
    name = error.name()
    if name in _MISSING:
        return missing_topic(topic)
    if name in _REFUSED:
        return UnusableLog(
            f"Kafka at {servers} refused the credentials.",
            "Set PAUSELEDGER_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM to what the brokers know.",
        )
    if name in _UNUSABLE:
        problem, advice = _UNUSABLE[name]
        return UnusableLog(f"The topic {topic!r} {problem}.", advice)
    return LogUnavailable(f"Kafka at {servers} did not answer ({name}).", "See that a broker runs there.")


def is_lasting(error: Any) -> bool:
    """The error does not pass by itself."""
    name = error.name()
    return name in _MISSING or name in _REFUSED or name in _UNUSABLE
