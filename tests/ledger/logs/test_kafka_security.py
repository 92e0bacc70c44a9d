"""TLS and passwords, on a real broker that asks for them, through both clients; and settings that can't be meant."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from consumers.cli import doctor_kafka
from ledger.errors import LedgerError, WrongUsage
from ledger.log import Draft
from ledger.logs.address import KafkaAddress, log_address, open_log
from ledger.logs.kafka_security import PLAINTEXT, KafkaSecurity
from ledger.logs.topic import create_topic, describe_topic
from tests.broker import NoKafkaError
from tests.faults.command import run
from tests.faults.lines import note
from tests.secure_broker import KEY_PASSWORD, PASSWORDS, SecureBroker, new_authority, running_secure_broker, write_pair

SECRET = SecretStr("s3cret-word")
SCHEMES = pytest.mark.parametrize("scheme", ["kafka", "kafka+confluent"])


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureBroker]:
    try:
        running = running_secure_broker()
        broker = running.__enter__()
    except NoKafkaError as error:
        pytest.skip(f"no Kafka broker: {error}")
    yield broker
    running.__exit__(None, None, None)


@pytest.fixture
def topic(secure: SecureBroker) -> str:
    name = f"ledger-{uuid.uuid4()}"
    create_topic(secure.address, name, partitions=2, security=secure.sasl())
    return name


@pytest.mark.kafka
@SCHEMES
@pytest.mark.parametrize("how", ["password", "certificate"])
def test_who_proves_itself_may_write_and_read(secure: SecureBroker, topic: str, scheme: str, how: str) -> None:
    """SCRAM-SHA-512 over TLS, and a client's certificate with an encrypted key."""
    address, security = (secure.address, secure.sasl()) if how == "password" else (secure.tls_address, secure.mutual())
    with closing(open_log(f"{scheme}://{address}/{topic}", security=security)) as log:
        receipt = log.append([Draft(1, b"k", b"v")])[0].result(20)
        [record] = log.read(1, 0, most=10, wait_seconds=10).records
    assert (record.offset, record.recorded_at, record.value) == (receipt.offset, receipt.recorded_at, b"v")


@pytest.mark.kafka
@SCHEMES
@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("wrong password", "refused the credentials"),
        ("wrong mechanism", "refused the credentials"),
        ("wrong authority", "certificate of Kafka .* is not trusted: .*PAUSELEDGER_KAFKA_SSL_CAFILE"),
        ("plaintext to TLS", "closed the connection.*PAUSELEDGER_KAFKA_SECURITY_PROTOCOL"),
        ("TLS without a password", "closed the connection.*PAUSELEDGER_KAFKA_SECURITY_PROTOCOL"),
        ("no certificate", "closed the connection.*SECURITY_PROTOCOL|refused ours.*SSL_CERTFILE"),
        ("no rights", "may not be used by these credentials"),
    ],
)
def test_what_is_wrong_is_said_in_time(secure: SecureBroker, topic: str, scheme: str, case: str, said: str) -> None:
    """One line within 15 s, and the password is not in it."""
    cafile = secure.folder / "ca.pem"
    address, security = {
        "wrong password": (secure.address, secure.sasl(password="not-the-password")),
        "wrong mechanism": (secure.address, KafkaSecurity("SASL_SSL", "PLAIN", "alice", SECRET, cafile=cafile)),
        "wrong authority": (secure.address, secure.sasl(cafile="stranger.pem")),
        "plaintext to TLS": (secure.address, KafkaSecurity()),
        "TLS without a password": (secure.address, KafkaSecurity("SSL", cafile=cafile)),
        "no certificate": (secure.tls_address, KafkaSecurity("SSL", cafile=cafile)),
        "no rights": (secure.address, secure.sasl("reader")),
    }[case]
    started = time.monotonic()
    with pytest.raises(LedgerError, match=said) as caught:
        open_log(f"{scheme}://{address}/{topic}", security=security, timeout_seconds=4)
    assert time.monotonic() - started < 15
    assert "\n" not in str(caught.value)
    assert "not-the-password" not in str(caught.value)
    assert caught.value.advice


@pytest.mark.kafka
def test_the_rights_are_those_of_the_user(secure: SecureBroker, topic: str) -> None:
    """What the brokers let these credentials do is asked with the topic's state."""
    rights = describe_topic(secure.address, topic, security=secure.sasl()).rights
    assert rights is not None
    assert {"READ", "WRITE"} <= rights


@pytest.mark.kafka
@SCHEMES
def test_the_commands_take_security_from_the_environment(tmp_path: Path, secure: SecureBroker, scheme: str) -> None:
    """Topic, publish, decision, rebuild and doctor work; a wrong password is one line on stderr and exit code 1."""
    env = {
        "PAUSELEDGER_LOG": f"{scheme}://{secure.address}/{uuid.uuid4()}",
        "PAUSELEDGER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "PAUSELEDGER_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "PAUSELEDGER_KAFKA_SASL_USERNAME": "alice",
        "PAUSELEDGER_KAFKA_SASL_PASSWORD": PASSWORDS["alice"],
        "PAUSELEDGER_KAFKA_SSL_CAFILE": str(secure.folder / "ca.pem"),
    }
    assert run("topic", "create", "--partitions", "2", folder=tmp_path, env=env).code == 0
    assert run("publish", "--strict", folder=tmp_path, env=env, stdin=note(1)).code == 0
    assert run("decision", "T-1", "--json", folder=tmp_path, env=env).json == []
    assert run("rebuild", "--json", folder=tmp_path, env=env).json["entries"] == 1
    found = run("doctor", "--json", folder=tmp_path, env=env)
    told = {one["check"]: one for one in found.json}
    assert (found.code, told["security"]["level"], told["rights"]["level"]) == (0, "ok", "ok")
    assert "SASL_SSL, SCRAM-SHA-512 as alice" in told["security"]["finding"]
    assert ("confluent" in told["client"]["finding"]) == (scheme == "kafka+confluent")
    wrong = run("decision", "T-1", folder=tmp_path, env=env | {"PAUSELEDGER_KAFKA_SASL_PASSWORD": "not-the-password"})
    assert (wrong.code, wrong.out, len(wrong.err.splitlines())) == (1, "", 1)
    assert "refused the credentials" in wrong.err
    assert "not-the-password" not in wrong.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"protocol": "TLS"}, "SECURITY_PROTOCOL is 'TLS'"),
        ({"username": "alice"}, "SASL_USERNAME is set, .* is PLAINTEXT. Set that to SASL_SSL"),
        ({"cafile": Path("ca.pem")}, "SSL_CAFILE is set, .* is PLAINTEXT. Set that to SSL"),
        ({"protocol": "SASL_SSL"}, "SASL_MECHANISM is not set. Set it to SCRAM-SHA-512"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN"}, "SASL_USERNAME is not set"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "alice"}, "SASL_PASSWORD is not set"),
        (
            {"protocol": "SASL_SSL", "mechanism": "GSSAPI", "username": "alice", "password": SECRET},
            "SASL_MECHANISM is 'GSSAPI'",
        ),
        ({"protocol": "SSL", "cafile": Path("nowhere.pem")}, "SSL_CAFILE: there is no file nowhere.pem"),
        ({"protocol": "SSL", "key_password": SECRET}, "SSL_CERTFILE is not set"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, Any], said: str) -> None:
    """The error names the setting, says what to do, and shows no secret."""
    with pytest.raises(WrongUsage, match=said) as caught:
        KafkaSecurity(**given)
    assert SECRET.get_secret_value() not in str(caught.value)


def test_files_that_are_no_certificates_are_refused_before_a_connection(tmp_path: Path) -> None:
    """A CA file of something else, and a key whose password is wrong."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(WrongUsage, match="PEM"):
        KafkaSecurity("SSL", cafile=tmp_path / "ca.pem").kafka_python()
    certificate, key = write_pair(tmp_path, "client", new_authority("a"), KEY_PASSWORD)
    security = KafkaSecurity("SSL", certfile=certificate, keyfile=key)
    for given in (security, KafkaSecurity("SSL", certfile=certificate, keyfile=key, key_password=SECRET)):
        with pytest.raises(WrongUsage, match="PAUSELEDGER_KAFKA_SSL_PASSWORD"):
            given.kafka_python()


def test_secrets_are_not_shown() -> None:
    """Neither where it is printed nor in its representation."""
    security = KafkaSecurity("SASL_PLAINTEXT", "PLAIN", "alice", SECRET)
    assert SECRET.get_secret_value() not in f"{security} {security!r}"
    assert str(security) == "SASL_PLAINTEXT, PLAIN as alice"


@SCHEMES
def test_the_doctor_warns_of_who_may_listen(tmp_path: Path, scheme: str) -> None:
    """A password in plaintext, and plaintext to another host; not on the same machine."""

    def level(host: str) -> str:
        address = log_address(f"{scheme}://{host}:1/t")
        assert isinstance(address, KafkaAddress)
        return next(one.level for one in doctor_kafka.connection(address, PLAINTEXT) if one.check == "security")

    assert level("127.0.0.1") == level("localhost") == "ok"
    assert level("kafka.invalid") == "warning"
    password = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "PLAIN"}
    password |= {"SASL_USERNAME": "a", "SASL_PASSWORD": "b"}
    env = {f"PAUSELEDGER_KAFKA_{name}": value for name, value in password.items()}
    found = run("doctor", "--json", "--log", f"{scheme}://127.0.0.1:1/t", folder=tmp_path, env=env)
    assert [one["level"] for one in found.json if one["check"] == "security"] == ["warning"]
