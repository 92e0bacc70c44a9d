"""A real broker that asks who you are: SASL_SSL with SCRAM-SHA-512, TLS with client certificates, ACLs.

It keeps a plaintext listener beside them, for the tests' own administration; the certificates are made anew each time.
"""

from __future__ import annotations

import datetime
import ipaddress
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from ledger.logs.kafka_security import KafkaSecurity
from tests.broker import HOST, Broker, free_port

PASSWORDS = {"alice": "correct-horse-9", "reader": "battery-staple-7"}
KEY_PASSWORD = "key-password-3"


@dataclass(frozen=True)
class Authority:
    """A certificate authority of our own."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def new_authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, _signed(name, key, None))


def _signed(name: str, key: ec.EllipticCurvePrivateKey, authority: Authority | None) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
    )
    return built.sign(authority.key if authority else key, hashes.SHA256())


def write_pair(folder: Path, name: str, authority: Authority, password: str | None) -> tuple[Path, Path]:
    """A certificate and its key, as PEM files; the key is encrypted where a password is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    secret = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret)
    certificate = folder / f"{name}.crt"
    certificate.write_bytes(_signed(name, key, authority).public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(written)
    return certificate, folder / f"{name}.key"


@dataclass(frozen=True)
class SecureBroker:
    """``address`` is SASL_SSL, ``tls_address`` TLS with a client certificate, ``open_address`` plaintext."""

    broker: Broker
    folder: Path
    address: str
    tls_address: str

    @property
    def open_address(self) -> str:
        return self.broker.address

    def sasl(self, user: str = "alice", password: str | None = None, cafile: str = "ca.pem") -> KafkaSecurity:
        """Connections of ``user``; with the right password unless told."""
        given = SecretStr(password or PASSWORDS[user])
        return KafkaSecurity("SASL_SSL", "SCRAM-SHA-512", user, given, cafile=self.folder / cafile)

    def mutual(self) -> KafkaSecurity:
        """Connections with a client's certificate, whose key is encrypted."""
        paths = {"certfile": self.folder / "client.crt", "keyfile": self.folder / "client.key"}
        return KafkaSecurity("SSL", cafile=self.folder / "ca.pem", key_password=SecretStr(KEY_PASSWORD), **paths)


def _broker_settings(folder: Path, ports: dict[str, int], names: tuple[Path, Path]) -> dict[str, str]:
    keystore = folder / "broker.pem"
    keystore.write_bytes(names[1].read_bytes() + names[0].read_bytes())
    listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
    settings = {
        "listeners": listeners,
        "advertised.listeners": ",".join(one for one in listeners.split(",") if not one.startswith("CONTROLLER")),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,MUTUAL:SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:alice;User:CN=client",  # ANONYMOUS: the tests' own administration
    }
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings["listener.name.secure.scram-sha-512.sasl.jaas.config"] = scram
    settings["listener.name.mutual.ssl.client.auth"] = "required"
    for name in ("secure", "mutual"):
        prefix = f"listener.name.{name}.ssl"
        settings |= {
            f"{prefix}.keystore.type": "PEM",
            f"{prefix}.keystore.location": str(keystore),
            f"{prefix}.truststore.type": "PEM",
            f"{prefix}.truststore.location": str(folder / "ca.pem"),
        }
    return settings


@contextmanager
def running_secure_broker() -> Iterator[SecureBroker]:
    """A broker with users and certificates, all gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="kafka-secure-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        authority, stranger = new_authority("ledger test"), new_authority("ledger stranger")
        (folder / "ca.pem").write_bytes(authority.pem)
        (folder / "stranger.pem").write_bytes(stranger.pem)
        write_pair(folder, "client", authority, KEY_PASSWORD)
        names = write_pair(folder, "broker", authority, None)
        ports = {name: free_port() for name in ("PLAINTEXT", "CONTROLLER", "SECURE", "MUTUAL")}
        users = [f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]" for user, password in PASSWORDS.items()]
        broker = Broker(
            folder / "broker",
            ports=(ports["PLAINTEXT"], ports["CONTROLLER"]),
            settings=_broker_settings(folder, ports, names),
            format_options=tuple(users),
        )
        try:
            broker.start()
            yield SecureBroker(broker, folder, f"{HOST}:{ports['SECURE']}", f"{HOST}:{ports['MUTUAL']}")
        finally:
            broker.kill()
