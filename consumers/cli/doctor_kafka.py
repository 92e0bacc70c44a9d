"""What ``pauseledger doctor`` looks at where the log is a Kafka topic: client, security, rights, settings, replicas."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from consumers.cli.finding import Finding
from ledger.errors import LedgerError
from ledger.logs.address import KafkaAddress
from ledger.logs.kafka_security import KafkaSecurity

_NEEDED = {"READ": "no entry can be read", "WRITE": "nothing can be published"}
_TLS = "Give the brokers a TLS listener, and set PAUSELEDGER_KAFKA_SECURITY_PROTOCOL to"


def connection(address: KafkaAddress, security: KafkaSecurity) -> Iterator[Finding]:
    """Which client it is, and who may listen."""
    try:
        client = f"{address.client} {version(address.client)}"
    except PackageNotFoundError:
        client = f"{address.client}, which is not installed"
    yield Finding("client", "ok", f"The log is reached through {client}.")
    if security.authenticates and not security.encrypts:
        finding = f"{security}: the password proves itself over a connection that anybody on the way can read."
        yield Finding("security", "warning", finding, f"{_TLS} SASL_SSL.")
    elif not security.encrypts and not all(map(_is_loopback, address.servers)):
        finding = f"{security}: entries travel unencrypted to another host, and nobody proves who they are."
        yield Finding("security", "warning", finding, f"{_TLS} SSL or SASL_SSL.")
    else:
        yield Finding("security", "ok", f"{security}.")


def _is_loopback(server: str) -> bool:
    host = server.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def topic(address: KafkaAddress, security: KafkaSecurity) -> Iterator[Finding]:
    """What these credentials may do, and whether the topic is as a ledger's must be."""
    from ledger.logs.topic import LEDGER_SETTINGS, describe_topic

    try:
        state = describe_topic(",".join(address.servers), address.topic, security=security)
    except LedgerError as error:
        yield Finding("topic", "problem", error.problem, error.advice)
        return
    yield from _rights(state.rights)
    if not state.settings:
        finding = "These credentials may not see the topic's settings."
        yield Finding("topic", "warning", finding, "Grant them DESCRIBE_CONFIGS on it, or ask who may.")
    for name, wanted in LEDGER_SETTINGS.items():
        given = state.settings.get(name)
        if given is None or given == wanted:
            continue
        advice = (
            f"kafka-configs.sh --alter --entity-type topics --entity-name {address.topic} --add-config {name}={wanted}"
        )
        yield Finding("topic", "problem", f"{name} is {given}; a ledger needs {wanted}.", f"Run: {advice}")
    yield from _durability(state.settings, state.replication)


def _rights(rights: frozenset[str] | None) -> Iterator[Finding]:
    if rights is None:
        return
    for right, loss in _NEEDED.items():
        if right not in rights:
            finding = f"These credentials lack {right} on the topic: {loss}."
            yield Finding("rights", "warning", finding, f"Where that is not meant, grant them {right} on it.")
    if rights.issuperset(_NEEDED):
        yield Finding("rights", "ok", "These credentials may read and write the topic.")


def _durability(settings: Mapping[str, str], replicas: int) -> Iterator[Finding]:
    durable = replicas >= 3 and settings.get("flush.messages") == "1" and settings.get("min.insync.replicas") == "2"
    if durable:
        yield Finding("durability", "ok", f"{replicas} replicas, each record flushed to disk.")
    else:
        finding = f"{replicas} replica(s), not flushed by record: a power cut of all can lose acknowledged entries."
        yield Finding("durability", "warning", finding, "Where that matters, make the topic with --durable.")
