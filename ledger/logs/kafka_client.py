"""Connections to Kafka: opened within a bound or not at all, and what kafka-python's errors mean to a person.

``settings`` everywhere are kafka-python's own connection settings, as
:meth:`ledger.logs.kafka_security.KafkaSecurity.kafka_python` gives them.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient

from ledger.errors import LedgerError, LogUnavailable, UnusableLog

Settings = Mapping[str, Any]
Client = TypeVar("Client")

_RECONNECT_MS = 1000
"""How long at most until a broker that was away is tried again; kafka-python's own 30 s outlast every deadline here."""
_MOST_FAILURES = 16
_REACH = "See that the address and the credentials are right and that a broker runs there."
_SECURITY = (
    "See that the brokers' listener there is as PAUSELEDGER_KAFKA_SECURITY_PROTOCOL says: one that expects TLS or a"
    " password closes connections without."
)
_OWN = "Set PAUSELEDGER_KAFKA_SSL_CERTFILE and _KEYFILE to a certificate that the brokers trust."
_TRUST = "See that PAUSELEDGER_KAFKA_SSL_CAFILE holds the authority of its certificate, and that this is its name."
_CREDENTIALS = "Set PAUSELEDGER_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM to what the brokers know."


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
    failures: deque[_Failure] = deque(maxlen=_MOST_FAILURES)

    def remembered(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        _watch(made[-1], failures)
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
            uses_sasl = "sasl_mechanism" in settings
            raise _not_connected(error, failures, servers, timeout_seconds, uses_sasl) from error
        raise


class _Failure(NamedTuple):
    """Why a connection failed; ``answered`` where the broker had spoken Kafka before."""

    error: BaseException
    answered: bool


def _watch(client: KafkaNetClient, failures: deque[_Failure]) -> None:
    """Keep the last reasons for which a connection failed: kafka-python only logs it, and tries again."""
    connect = client._manager.get_connection

    def watched(*positional: Any, **named: Any) -> Any:
        made = connect(*positional, **named)

        def failed(error: BaseException) -> None:
            failures.append(_Failure(error, made.broker_version_data is not None))

        made.init_future.add_errback(failed)
        made.close_future.add_errback(failed)
        return made

    client._manager.get_connection = watched


def _not_connected(
    error: Exception, failures: Sequence[_Failure], servers: str, timeout_seconds: float, uses_sasl: bool
) -> LedgerError:
    """Why nobody answered, where it can be told."""
    for cause in (error, *(one.error for one in failures)):
        if isinstance(cause, _REFUSED):
            return _refused(cause, servers)
    for failure in reversed(failures):  # the last attempt is often only cut short
        if (found := _telling(failure, servers, uses_sasl)) is not None:
            return found
    return LogUnavailable(f"No Kafka broker at {servers} answered within {timeout_seconds:g} s.", _REACH)


def _telling(failure: _Failure, servers: str, uses_sasl: bool) -> LedgerError | None:
    said = str(failure.error)
    if "CERTIFICATE_VERIFY_FAILED" in said:
        why = said.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "no reason is given"
        return LogUnavailable(f"The certificate of Kafka at {servers} is not trusted: {why}.", _TRUST)
    if "ALERT" in said and "CERTIFICATE" in said:
        return UnusableLog(f"Kafka at {servers} asks for a certificate, and refused ours.", _OWN)
    if "Handshake failed" in said or _CLOSED.search(said):
        # kafka-python overlooks a refusal after which the broker closes at once; when it was closed tells as much.
        if failure.answered and uses_sasl:
            return UnusableLog(
                f"Kafka at {servers} refused the credentials (user, password or mechanism).", _CREDENTIALS
            )
        return LogUnavailable(f"Kafka at {servers} closed the connection before it answered.", _SECURITY)
    return None


def _refused(cause: BaseException, servers: str) -> UnusableLog:
    said = str(cause.args[0] if cause.args else "").partition(": ")[2].rstrip(".")
    return UnusableLog(f"Kafka at {servers} refused the credentials ({said or type(cause).__name__}).", _CREDENTIALS)


def _end(client: KafkaNetClient) -> None:
    with suppress(Exception):
        client.close()
    with suppress(Exception):
        client._manager._net.stop()


def missing_topic(topic: str) -> UnusableLog:
    """The error for a topic that isn't there, or that these credentials may not see."""
    return UnusableLog(f"There is no topic {topic!r}.", "Make it with: pauseledger topic create")


_CLOSED = re.compile(r"disconnected|reset by peer|broken pipe|eof", re.IGNORECASE)
_REFUSED: tuple[type[Exception], ...] = (
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
)
_UNUSABLE: tuple[tuple[type[Exception], str, str], ...] = (
    (kafka_errors.AuthorizationError, "may not be used by these credentials", "Grant them READ and WRITE on it."),
    (kafka_errors.UnsupportedCodecError, "holds records in a compression that can't be read here",
     "Install lz4, zstandard or python-snappy, and set the topic's compression.type to uncompressed."),
    (kafka_errors.CorruptRecordError, "holds a damaged record", "Check the disks of its brokers."),
)  # fmt: skip


def ledger_error(error: Exception, topic: str, servers: str) -> LedgerError:
    """What an error of kafka-python means for the log on ``topic``."""
    if isinstance(error, _REFUSED):
        return _refused(error, servers)
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
