"""What ``pauseledger doctor`` says of the fleet: extras, groups, the topics beside, webhooks, tokens, metrics."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from consumers.alerts.addresses import webhook_urls
from consumers.cli.finding import Finding
from consumers.cli.run import JOBS
from consumers.cli.words import counted
from consumers.settings import Settings
from ledger.errors import LedgerError
from ledger.logs.address import KafkaAddress, log_address

EXTRAS = {
    "postgres": "psycopg",
    "confluent": "confluent_kafka",
    "webhooks": "standardwebhooks",
    "api": "fastapi",
    "tracing": "opentelemetry.sdk",
    "callbacks": "boto3",
    "mcp": "mcp",
    "tiles": "fsspec",
    "parquet": "pyarrow",
    "langgraph": "langgraph",
    "step-functions": "boto3",
    "lambda-durable": "aws_durable_execution_sdk_python",
    "openai-agents": "agents",
    "pydantic-ai": "pydantic_ai",
    "dbos": "dbos",
    "temporal": "temporalio",
}
"""Each extra, and a module that it brings."""
_HERE = ("127.0.0.1", "localhost", "::1")


def fleet(settings: Settings) -> Iterator[Finding]:
    """Every finding about the fleet."""
    installed = [name for name, module in EXTRAS.items() if _is_there(module)]
    yield Finding("extras", "ok", f"Installed: {', '.join(installed) or 'none'}; of {', '.join(EXTRAS)}.")
    yield from _tracing(settings, installed)
    address = log_address(settings.log_url)
    if isinstance(address, KafkaAddress):
        yield from _groups(",".join(address.servers), settings)
        yield from _topics_beside(address, settings)
    yield from _webhooks(settings)
    if settings.api_tokens is not None:
        yield from _tokens(settings.api_tokens)
    if settings.metrics:
        yield from _metrics(settings.metrics)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _tracing(settings: Settings, installed: list[str]) -> Iterator[Finding]:
    from consumers.operations.tracing import is_on

    if is_on(settings) and "tracing" not in installed:
        yield Finding("tracing", "problem", "Tracing is on and can't be.", "Run: pip install 'pauseledger[tracing]'")


def _groups(servers: str, settings: Settings) -> Iterator[Finding]:
    from ledger.logs.kafka_group import members_of

    try:
        members = members_of(
            servers, [f"{settings.group}-{job}" for job in JOBS], settings=settings.kafka_security.kafka_python()
        )
    except LedgerError as error:
        yield Finding("groups", "warning", error.problem, error.advice)
        return
    told = ", ".join(f"{name}: {count}" for name, count in sorted(members.items()))
    yield Finding("groups", "ok", f"Processes that run now, by consumer group: {told}.")


def _topics_beside(address: KafkaAddress, settings: Settings) -> Iterator[Finding]:
    """Those that jobs write: one that isn't there is made by its job."""
    from ledger.logs.topic import describe_known_topic, describe_topic

    servers, security = ",".join(address.servers), settings.kafka_security
    try:
        wanted = describe_topic(servers, address.topic, security=security).partitions
    except LedgerError:
        return  # it was said of the ledger's own topic
    there = []
    for name in (f"{address.topic}.{suffix}" for suffix in ("verdicts", "decisions", "alerts", "checkpoints")):
        try:
            found = describe_known_topic(servers, name, security=security)
        except LedgerError:
            continue
        if found is None:
            continue
        there.append(name)
        if found.partitions != wanted:
            problem = f"The topic {name} has {counted(found.partitions, 'partition')}, and its ledger has {wanted}."
            yield Finding("topics", "problem", problem, "Remove it: its job makes it as it must be.")
    yield Finding("topics", "ok", f"Beside the ledger's topic there is {', '.join(there) or 'none yet'}.")


def _webhooks(settings: Settings) -> Iterator[Finding]:
    urls = webhook_urls(settings.webhooks)
    if not urls:
        return
    if not settings.webhook_secret.get_secret_value():
        problem = "Webhooks are set, and no secret to sign what is sent to them."
        yield Finding("webhooks", "problem", problem, "Set PAUSELEDGER_WEBHOOK_SECRET.")
    elif not _is_there(EXTRAS["webhooks"]):
        yield Finding(
            "webhooks", "problem", "Webhooks are set and can't be used.", "Run: pip install 'pauseledger[webhooks]'"
        )
    elif bare := [url for url in urls if url.startswith("http://") and urlsplit(url).hostname not in _HERE]:
        problem = f"{len(bare)} webhook(s) are http: anybody on the way reads the alerts."
        yield Finding("webhooks", "warning", problem, "Use https.")
    else:
        yield Finding("webhooks", "ok", f"Alerts are signed and go to {len(urls)} address(es).")


def _tokens(path: Path) -> Iterator[Finding]:
    if not _is_there(EXTRAS["api"]):
        yield Finding("tokens", "problem", "The HTTP API is set up and can't run.", "pip install 'pauseledger[api]'")
        return
    from consumers.api.tokens import read_tokens

    try:
        count = len(read_tokens(path))
    except LedgerError as error:
        yield Finding("tokens", "problem", error.problem, error.advice)
    else:
        yield Finding("tokens", "ok", f"{path} lets {count} token(s) use the HTTP API.")


def _metrics(text: str) -> Iterator[Finding]:
    from consumers.operations.probes import address_of

    try:
        host, port = address_of(text)
    except LedgerError as error:
        yield Finding("metrics", "problem", error.problem, error.advice)
        return
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            problem = f"{host}:{port} is not free here: {error.strerror}."
            yield Finding("metrics", "warning", problem, "Fine where pauseledger run serves it already.")
        else:
            yield Finding("metrics", "ok", f"{host}:{port} is free for /metrics, /healthz and /readyz.")
