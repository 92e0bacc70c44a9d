"""Every setting there is, and what it opens: an environment variable each, ``PAUSELEDGER_`` and the name in capitals.

A command's options come before the environment, the environment before the defaults. A setting that can't be meant is
refused before anything is opened. What is secret is never printed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from consumers.alerts.addresses import webhook_secrets, webhook_urls
from consumers.indexer import Indexer
from ledger.errors import UnusableLog, WrongUsage
from ledger.index import Index
from ledger.log import Log
from ledger.logs.address import DEFAULT_URL, KafkaAddress, index_url_for, log_address, open_log
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity
from ledger.recorders.address import index_address
from projections.deadlines import Deadlines
from projections.decisions import Decisions
from projections.owners import Owners
from projections.trail import Trail

PREFIX = "PAUSELEDGER_"


@dataclass(frozen=True)
class Ledger:
    """An opened ledger: its log, its index, and the indexer that keeps the one up to the other."""

    log: Log
    index: Index
    indexer: Indexer

    def close(self) -> None:
        self.index.close()
        self.log.close()


class _Remaking:
    """Says on a terminal how far it is when projections are made anew."""

    def __init__(self) -> None:
        self._entries = 0

    def __call__(self, entries: int) -> None:
        self._entries += entries
        if sys.stderr.isatty():
            print(f"\rThe index's tables are made anew: {self._entries:,} entries", end="", file=sys.stderr)


class Settings(BaseSettings):
    """The settings, checked."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid")

    log: str = Field(
        DEFAULT_URL, description="The log: sqlite:///FILE, kafka:// or kafka+confluent://HOST:PORT[,HOST:PORT]/TOPIC."
    )
    index: str = Field("", description="The index: sqlite:///FILE or postgresql://…")

    # Connections to Kafka, whichever client.
    kafka_security_protocol: str = Field("PLAINTEXT", description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    kafka_sasl_mechanism: str | None = Field(None, description="SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.")
    kafka_sasl_username: str | None = Field(None, description="The user that the brokers know.")
    kafka_sasl_password: SecretStr | None = Field(None, description="The user's password. Never printed.")
    kafka_ssl_cafile: Path | None = Field(None, description="PEM: who may vouch for brokers. Else the system's list.")
    kafka_ssl_certfile: Path | None = Field(None, description="PEM: our certificate, where brokers ask for one.")
    kafka_ssl_keyfile: Path | None = Field(None, description="PEM: its key, where that is not in the same file.")
    kafka_ssl_password: SecretStr | None = Field(None, description="The key's password. Never printed.")

    # Personal data: docs/erasure.md.
    personal_keys: str = Field(
        "", description="The key store: sqlite:///FILE or postgresql://…; unset, none is sealed."
    )
    personal_store_key: SecretStr = Field(
        SecretStr(""), description="What wraps the keys in it: the base64 of 32 to 64 bytes. PostgreSQL needs one."
    )
    personal_new_store_key: SecretStr = Field(
        SecretStr(""), description="The store key that comes next: for `pauseledger personal rewrap`."
    )

    # The jobs of `pauseledger run`.
    group: str = Field("pauseledger", description="Kafka consumer groups: GROUP-JOB each. One fleet, one name.")
    session_seconds: float = Field(
        10.0, ge=1.0, le=1800.0, description="How long a process may be silent before the group takes its partitions."
    )
    drain_seconds: float = Field(
        25.0, gt=0, description="How long SIGTERM waits for the batches under way. Less than what kills the process."
    )

    # Operations of `pauseledger run`.
    metrics: str = Field(
        "",
        description="Serve /metrics, /healthz and /readyz on [HOST:]PORT; HOST is 127.0.0.1 unless told. Off if empty.",
    )
    measure_seconds: float = Field(5.0, gt=0, description="How often lag, decisions and debts are measured.")
    health_seconds: float = Field(
        60.0, gt=0, description="A job that has not come round for so long makes /healthz fail."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Log lines on stderr: JSON, or text for people. auto: text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")
    tracing: bool | None = Field(
        None, description="OpenTelemetry spans. Unless told, on where OTEL_EXPORTER_OTLP_ENDPOINT is set."
    )

    # The job `decisions`.
    verdicts_retention_days: float = Field(
        7.0, gt=0, le=36_500, description="How long TOPIC.verdicts keeps a verdict; when the job makes the topic."
    )

    # The watcher: who is told of deadlines that pass.
    webhooks: str = Field("", description="Where alerts are posted to: addresses, by commas or as a JSON list.")
    webhook_secret: SecretStr = Field(
        SecretStr(""), description="Signs them: whsec_BASE64; two, by a comma, to rotate."
    )
    alert_grace_seconds: float = Field(
        1.0, ge=0, le=3600, description="How long a deadline must have passed by our clock before it is told."
    )

    # The job `callbacks`; where AWS is, and who we are there, is boto3's own environment.
    callbacks_tokens: Path = Field(Path("pauseledger.tokens"), description="The folder of task tokens: secret.")
    callbacks_output: Literal["grant", "arguments"] = Field(
        "grant", description="What a granted task gets: the action's arguments, with `grant` the fence beside them."
    )
    callbacks_source: str = Field("urn:pauseledger:callbacks", description="The job's CloudEvents source.")
    callbacks_outbox: Path = Field(
        Path("pauseledger.callbacks.outbox"), description="The file of its facts whose fate is unknown."
    )

    # Evidence: the notary's keys and what it signs.
    keys: Path = Field(
        Path("pauseledger.keys"), description="The folder of the notary's keys and of what it signed: secret."
    )
    tiles: str = Field(
        "",
        description="Where the tiles lie: a folder, or an address for fsspec. Else pauseledger.tiles beside the keys.",
    )
    notary_entries: int = Field(10_000, ge=1, description="The notary signs after so many entries of a partition.")
    notary_seconds: float = Field(
        60.0, gt=0, description="It signs so long after an entry at the latest, however few there are."
    )

    # The HTTP API of `pauseledger serve`.
    api_host: str = Field("127.0.0.1", description="The address that the HTTP API binds.")
    api_port: int = Field(8750, ge=0, le=65_535, description="The port of the HTTP API; 0: any that is free.")
    api_tokens: Path | None = Field(
        None, description="The JSON file of static tokens, hashed: `pauseledger token new`."
    )
    api_issuer: str = Field("", description="Who issues JWTs: their `iss`. Without api_jwks it is asked for its keys.")
    api_audience: str = Field("", description="The `aud` that a JWT must name: this API.")
    api_jwks: str = Field("", description="The issuer's keys: an https URL or a file of a JWKS.")
    api_actor_claim: str = Field("sub", description="The claim of a JWT that says who it is.")
    api_actor_prefix: str = Field("user:", description="What is put before that claim to make the actor.")
    api_role_prefix: str = Field("role:", description="What is put before each of a JWT's `roles` to make actorroles.")
    api_leeway_seconds: float = Field(10.0, ge=0, le=60, description="How far an issuer's clock may be off.")
    api_body_bytes: int = Field(1_048_576, ge=1, le=4_194_304, description="The most bytes of a request's body.")
    api_batch_events: int = Field(500, ge=1, description="The most events of a batch.")
    api_rate: float = Field(200.0, ge=0, description="Requests a second of one credential, lastingly; 0: no limit.")
    api_burst: int = Field(400, ge=1, description="Requests of one credential at once, before the rate holds.")
    api_streams: int = Field(100, ge=0, description="The most event streams at once.")
    api_publish_seconds: float = Field(10.0, ge=0, description="How long a request waits for its verdicts.")
    api_read_seconds: float = Field(10.0, gt=0, description="How long a read waits for the index.")
    api_ready_lag: int = Field(10_000, ge=0, description="Entries that the index may lag while /readyz says ready.")
    api_outbox: Path = Field(Path("pauseledger.outbox"), description="The file of facts whose fate is unknown.")
    api_tls_certificate: Path | None = Field(None, description="The server's certificate chain, in PEM.")
    api_tls_key: Path | None = Field(None, description="The certificate's private key, in PEM.")

    # The MCP server of `pauseledger run mcp`; over HTTP with the API's tokens, TLS, rates and outbox.
    mcp_transport: Literal["stdio", "http"] = Field(
        "stdio", description="stdio: one client on stdin and stdout. http: many, at /mcp."
    )
    mcp_host: str = Field("127.0.0.1", description="The address that the MCP server binds.")
    mcp_port: int = Field(8751, ge=0, le=65_535, description="The port of the MCP server.")
    mcp_names: str = Field(
        "", description="Names, by commas, that it answers to over HTTP with tokens, beside this machine's own."
    )
    mcp_actor: str = Field("service:mcp", description="Who a client is over stdio, or over HTTP without tokens.")
    mcp_roles: str = Field("", description="The roles that this actor holds, by commas.")
    mcp_scopes: str = Field(
        "publish,read", description="What it may do: publish, read, review. With review a model decides reviews."
    )
    mcp_prefixes: str = Field("", description="Only work items whose names start so, by commas. All if empty.")
    mcp_terms: str = Field(
        "", description="JSON: terms of every pause, which a model may leave out and not change: owner, fresh_for …"
    )
    mcp_source: str = Field("urn:pauseledger:mcp", description="The `source` of what it publishes.")
    mcp_seconds: float = Field(10.0, gt=0, le=300, description="How long a tool waits for its verdict.")

    @classmethod
    def read(cls, log_url: str | None = None, index_url: str | None = None, **given: Any) -> Self:
        """From what was given, else the environment, else the defaults. Raises ``WrongUsage``."""
        chosen = {"log": log_url or None, "index": index_url or None, **given}
        try:
            settings = cls(**{name: value for name, value in chosen.items() if value is not None})
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[0]
            name = PREFIX + "_".join(str(part) for part in found["loc"]).upper()
            raise WrongUsage(f"{name}: {found['msg']}.", "See the settings in docs/operations.md.") from None
        settings._security_of_the_log()
        index_address(settings.index_url)
        webhook_urls(settings.webhooks)
        webhook_secrets(settings.webhook_secret.get_secret_value())
        return settings

    @property
    def log_url(self) -> str:
        return self.log

    @property
    def kafka_security(self) -> KafkaSecurity:
        """How to connect to Kafka, for every client that is made. Raises ``WrongUsage``."""
        return KafkaSecurity(
            protocol=self.kafka_security_protocol,
            mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_sasl_username,
            password=self.kafka_sasl_password,
            cafile=self.kafka_ssl_cafile,
            certfile=self.kafka_ssl_certfile,
            keyfile=self.kafka_ssl_keyfile,
            key_password=self.kafka_ssl_password,
        )

    @property
    def index_url(self) -> str:
        return self.index or index_url_for(self.log)

    @property
    def tiles_place(self) -> str:
        """Where the trees' tiles lie: a folder or an address."""
        return self.tiles or str(self.keys.parent / "pauseledger.tiles")

    def open_log(self, *, create: bool = False, timeout_seconds: float = 8.0) -> Log:
        """Open the log; ``create`` makes the embedded log's file where there is none."""
        return open_log(self.log, create=create, timeout_seconds=timeout_seconds, security=self._security_of_the_log())

    def _security_of_the_log(self) -> KafkaSecurity:
        return self.kafka_security if isinstance(log_address(self.log), KafkaAddress) else PLAINTEXT

    def open(self, *, create: bool = False, start_over: bool = False, timeout_seconds: float = 8.0) -> Ledger:
        """Open log and index; ``create`` makes the embedded log's file where there is none, ``start_over`` empties the
        index once the log is known to be there.
        """
        log = self.open_log(create=create, timeout_seconds=timeout_seconds)
        try:
            index = self.open_index()
            try:
                if start_over:
                    index.start_over()
                return Ledger(log, index, Indexer(log, index, remaking=_Remaking()))
            except BaseException:
                index.close()
                raise
        except BaseException:
            log.close()
            raise

    def open_index(self) -> Index:
        """Open the index, which is made where there is none."""
        address = index_address(self.index_url)
        if isinstance(address, Path):
            if address.is_dir():
                advice = "Name a file in it: sqlite:///FOLDER/FILE."
                raise UnusableLog(f"{address} is a folder, not an index file.", advice)
            if not address.parent.is_dir():
                raise UnusableLog(f"There is no folder {address.parent}.", "Make it first, or name another file.")
        return Index(address, [Trail(), Decisions(), Deadlines(), Owners()])
