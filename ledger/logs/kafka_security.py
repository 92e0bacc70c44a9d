"""How connections to Kafka are secured: one answer for both clients, checked before anything is opened.

The secrets are ``SecretStr``: neither a traceback nor a log shows them. What each client needs is rendered for it;
only the client itself sees a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from ledger.errors import WrongUsage

if TYPE_CHECKING:  # the embedded log needs none of it
    import ssl

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
"""What both clients speak without further libraries."""

PREFIX = "PAUSELEDGER_KAFKA_"


@dataclass(frozen=True)
class KafkaSecurity:
    """The security of connections. ``cafile``, ``certfile`` and ``keyfile`` are PEM files.

    Without ``cafile`` the system's certificate authorities are trusted. ``certfile`` is for brokers that ask for a
    client's certificate, and may hold its key as well. Raises ``WrongUsage`` for what can't be meant, such as a user
    name that nothing would send.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None
    key_password: SecretStr | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise WrongUsage(f"{PREFIX}SECURITY_PROTOCOL is {self.protocol!r}.", f"Use {_either(PROTOCOLS)}.")
        self._check_sasl()
        self._check_tls()

    @property
    def encrypts(self) -> bool:
        """The connections are TLS."""
        return self.protocol.endswith("SSL")

    @property
    def authenticates(self) -> bool:
        """A user name and a password are sent."""
        return self.protocol.startswith("SASL")

    def __str__(self) -> str:
        """For people, without secrets: such as ``SASL_SSL, SCRAM-SHA-512 as alice``."""
        parts = [self.protocol]
        if self.authenticates:
            parts.append(f"{self.mechanism} as {self.username}")
        if self.certfile is not None:
            parts.append(f"with the certificate {self.certfile}")
        return ", ".join(parts)

    def kafka_python(self) -> dict[str, Any]:
        """The settings of kafka-python's clients. Raises ``WrongUsage`` for a file that is no certificate or key."""
        found: dict[str, Any] = {"security_protocol": self.protocol}
        if self.encrypts:
            found["ssl_context"] = self._context
        if self.authenticates:
            found |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": _shown(self.password),
            }
        return found

    def confluent(self) -> dict[str, Any]:
        """The settings of librdkafka's clients."""
        found: dict[str, Any] = {"security.protocol": self.protocol}
        if self.authenticates:
            found |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": _shown(self.password),
            }
        if self.encrypts and self.cafile is not None:
            found["ssl.ca.location"] = str(self.cafile)
        if self.encrypts and self.certfile is not None:
            found["ssl.certificate.location"] = str(self.certfile)
            found["ssl.key.location"] = str(self.keyfile or self.certfile)
            if self.key_password is not None:
                found["ssl.key.password"] = _shown(self.key_password)
        return found

    def _check_sasl(self) -> None:
        given = {"SASL_MECHANISM": self.mechanism, "SASL_USERNAME": self.username, "SASL_PASSWORD": self.password}
        if not self.authenticates:
            _refuse_unused(given, self.protocol, "SASL_SSL")
            return
        for name, value in given.items():
            if value is None or not _shown(value):
                hint = (
                    f"{_either(MECHANISMS)}, as the brokers ask" if name == "SASL_MECHANISM" else "what you were given"
                )
                raise WrongUsage(
                    f"{PREFIX}SECURITY_PROTOCOL is {self.protocol}, and {PREFIX}{name} is not set.",
                    f"Set it to {hint}.",
                )
        if self.mechanism not in MECHANISMS:
            raise WrongUsage(f"{PREFIX}SASL_MECHANISM is {self.mechanism!r}.", f"Use {_either(MECHANISMS)}.")

    def _check_tls(self) -> None:
        files = {"SSL_CAFILE": self.cafile, "SSL_CERTFILE": self.certfile, "SSL_KEYFILE": self.keyfile}
        if not self.encrypts:
            wanted = "SASL_SSL" if self.authenticates else "SSL"
            _refuse_unused({**files, "SSL_PASSWORD": self.key_password}, self.protocol, wanted)
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise WrongUsage(f"{PREFIX}{name}: there is no file {path}.", "Name a PEM file.")
        if self.certfile is None and (self.keyfile is not None or self.key_password is not None):
            raise WrongUsage(
                f"There is a key, and {PREFIX}SSL_CERTFILE is not set.", "Name the certificate that it belongs to."
            )

    @cached_property
    def _context(self) -> ssl.SSLContext:
        """What both ends must show; made here, so that a wrong file is known from a broker that is away."""
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.cafile is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(self.cafile)
        except OSError as error:
            raise WrongUsage(f"{self.cafile} can't be used ({error}).", "Name a PEM file of certificates.") from error
        if self.certfile is not None:
            self._load_own(context, self.certfile)
        return context

    def _load_own(self, context: ssl.SSLContext, certfile: Path) -> None:
        try:
            # An empty password, where none is set: OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certfile, self.keyfile, _shown(self.key_password) or "")
        except (OSError, ValueError) as error:
            raise WrongUsage(
                f"{certfile} and its key can't be used ({error}).",
                f"See that they are PEM, belong together, and that {PREFIX}SSL_PASSWORD is the key's.",
            ) from error


def _shown(value: SecretStr | str | None) -> str | None:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _refuse_unused(given: dict[str, Any], protocol: str, wanted: str) -> None:
    """What was given and would not be used was meant to protect something."""
    for name, value in given.items():
        if value is not None:
            raise WrongUsage(
                f"{PREFIX}{name} is set, and {PREFIX}SECURITY_PROTOCOL is {protocol}.", f"Set that to {wanted}."
            )


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


PLAINTEXT = KafkaSecurity()
