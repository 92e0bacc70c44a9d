"""The addresses of logs, as ``PAUSELEDGER_LOG`` gives them.

``sqlite:///FILE`` (three slashes and a relative path, four and an absolute one),
``kafka://HOST:PORT[,HOST:PORT]/TOPIC``, or ``kafka+confluent://…`` for the same topic through confluent-kafka. A
backend's library is imported only when its log is opened.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote

from ledger.errors import WrongUsage
from ledger.log import Log
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity

DEFAULT_URL = "sqlite:///pauseledger.db"
"""The default of both the log and, beside a Kafka log, the index."""

_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}"
_KAFKA = re.compile(rf"(?P<servers>{_HOST}(?:,{_HOST})*)/(?P<topic>[A-Za-z0-9._-]{{1,249}})/?")
_FORMS = "Use sqlite:///FILE, kafka://HOST:PORT[,HOST:PORT]/TOPIC or kafka+confluent://HOST:PORT[,HOST:PORT]/TOPIC."

Client = Literal["kafka-python", "confluent-kafka"]
_CLIENTS: dict[str, Client] = {"kafka": "kafka-python", "kafka+confluent": "confluent-kafka"}


class KafkaAddress(NamedTuple):
    """Where a topic is, and the library to reach it through. ``servers`` are ``HOST:PORT`` each."""

    servers: tuple[str, ...]
    topic: str
    client: Client = "kafka-python"


def log_address(url: str) -> Path | KafkaAddress:
    """What ``url`` names: the embedded log's file, or a topic. Raises ``WrongUsage``."""
    scheme, found, rest = url.partition("://")
    if found and scheme == "sqlite" and _is_file(rest):
        return Path(unquote(rest[1:]))
    if found and scheme in _CLIENTS and (match := _KAFKA.fullmatch(rest)):
        return KafkaAddress(tuple(match["servers"].split(",")), match["topic"], _CLIENTS[scheme])
    raise WrongUsage(f"{url!r} is no address of a log.", _FORMS)


def _is_file(rest: str) -> bool:
    """A path, no host and no query: SQLite's ``?mode=memory`` would be a log that keeps nothing."""
    return rest.startswith("/") and rest.strip("/") not in ("", ":memory:") and not set("?#\0") & set(rest)


def open_log(
    url: str, *, create: bool = False, timeout_seconds: float = 10.0, security: KafkaSecurity = PLAINTEXT
) -> Log:
    """Open the log at ``url``; ``create`` makes the embedded log's file where there is none, never a topic.

    ``timeout_seconds`` bounds the wait for a broker, ``security`` is that of the connections to it. Raises
    ``WrongUsage``, ``LogUnavailable`` or ``UnusableLog``.
    """
    address = log_address(url)
    if isinstance(address, Path):
        from ledger.logs.sqlite import SqliteLog

        return SqliteLog(address, create=create)
    if address.client == "confluent-kafka":
        from ledger.logs.confluent import ConfluentLog

        return ConfluentLog(address.servers, address.topic, timeout_seconds=timeout_seconds, security=security)
    from ledger.logs.kafka import KafkaLog

    return KafkaLog(address.servers, address.topic, timeout_seconds=timeout_seconds, security=security)


def log_name(url: str) -> str:
    """The address without the library in it: the same for everybody who reads and writes this log."""
    return url.replace("kafka+confluent://", "kafka://", 1) if url.startswith("kafka+confluent://") else url


def index_url_for(log_url: str) -> str:
    """Where the index is unless told: in the embedded log's file; beside a Kafka log in the default file."""
    return log_url if isinstance(log_address(log_url), Path) else DEFAULT_URL
