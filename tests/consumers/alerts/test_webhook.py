"""One webhook: what is posted, what each answer means, and that a try ends however slow the other end is."""

from __future__ import annotations

import base64
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook as Signer
from standardwebhooks import WebhookVerificationError

from consumers.alerts.store import Due
from consumers.alerts.webhook import LONGEST_WAIT_SECONDS, WAIT_SECONDS, Webhook
from ledger.errors import WrongUsage
from tests.broker import free_port
from tests.consumers.alerts.receiver import OTHER_SECRET, SECRET, Receiver, receiving

DUE = Due("alert-1", "target", 0, 0, "T-1", '{"specversion":"1.0","id":"alert-1","what":"é"}')


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_what_is_posted_is_the_event_signed_by_the_standard(receiver: Receiver) -> None:
    """The library's own verification takes it, and refuses it with a byte or the id changed."""
    outcome = Webhook(receiver.url, [SECRET]).send(DUE)
    assert outcome.delivered
    (post,) = receiver.posts
    assert post.path == "/hook?key=k"
    assert post.body == DUE.content.encode()
    assert post.headers["content-type"].startswith("application/cloudevents+json")
    assert post.headers["webhook-id"] == "alert-1"
    assert post.event["id"] == "alert-1"
    for body, headers in (
        (post.body.replace(b"1.0", b"1.1"), post.headers),
        (post.body, post.headers | {"webhook-id": "alert-2"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Signer(SECRET).verify(body, headers)


def test_while_secrets_are_changed_over_both_verify(receiver: Receiver) -> None:
    """Each post carries both signatures, and a third secret's is none of them."""
    Webhook(receiver.url, [SECRET, OTHER_SECRET]).send(DUE)
    (post,) = receiver.posts
    for secret in (SECRET, OTHER_SECRET):
        Signer(secret).verify(post.body, post.headers)
    with pytest.raises(WebhookVerificationError):
        Signer("whsec_" + base64.b64encode(b"x" * 32).decode()).verify(post.body, post.headers)


@pytest.mark.parametrize("status", [200, 202, 299])
def test_every_2xx_is_a_delivery(receiver: Receiver, status: int) -> None:
    """Whatever else is answered."""
    receiver.status = status
    assert Webhook(receiver.url, [SECRET]).send(DUE).delivered


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 500, 502, 503, 429])
def test_all_else_is_tried_again(receiver: Receiver, status: int) -> None:
    """No redirect is followed: the place that it names gets nothing."""
    receiver.status, receiver.headers = status, {"location": receiver.url}
    outcome = Webhook(receiver.url, [SECRET]).send(DUE)
    assert (outcome.delivered, outcome.hopeless, outcome.said) == (False, False, f"answered {status}")
    assert len(receiver.posts) == 1


def test_gone_means_never_again(receiver: Receiver) -> None:
    """A 410 is a dead letter at once."""
    receiver.status = 410
    assert Webhook(receiver.url, [SECRET]).send(DUE).hopeless


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_kept_within_a_day(receiver: Receiver, status: int) -> None:
    """As seconds or as a date; nonsense and the past ask for nothing."""
    receiver.status = status
    soon = datetime.now(UTC) + timedelta(seconds=600)
    for text, low, high in (
        ("120", 120, 120),
        (format_datetime(soon, usegmt=True), 590, 600),
        ("99999999", LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        ("9" * 400, LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        (format_datetime(soon - timedelta(days=1), usegmt=True), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("²", 0, 0),
    ):
        receiver.headers = {"retry-after": text.encode().decode("latin-1")}
        outcome = Webhook(receiver.url, [SECRET]).send(DUE)
        assert low <= outcome.wait_seconds <= high, text
        assert outcome.resting is (high > 0)


def test_nobody_there() -> None:
    """A refused connection is told in words that hold no address."""
    outcome = Webhook(f"http://127.0.0.1:{free_port()}/s3cr3t", [SECRET]).send(DUE)
    assert outcome.said == "could not be reached: Connection refused"


def test_a_server_that_says_nothing_is_left_in_time(receiver: Receiver) -> None:
    """The try ends when its time is over."""
    receiver.hold.clear()
    began = time.monotonic()
    outcome = Webhook(receiver.url, [SECRET], try_seconds=0.3).send(DUE)
    assert (outcome.delivered, outcome.said) == (False, "did not answer in time")
    assert time.monotonic() - began < 15


def test_a_server_that_never_stops_speaking_is_left_in_time(receiver: Receiver) -> None:
    """A byte now and then keeps every time-out of a socket from passing, and not the one of a try."""
    receiver.drip = True
    began = time.monotonic()
    outcome = Webhook(receiver.url, [SECRET], try_seconds=0.5).send(DUE)
    assert (outcome.delivered, outcome.said) == (False, "did not answer in time")
    assert time.monotonic() - began < 15


def test_a_handshake_that_never_ends_is_left_in_time() -> None:
    """Nor may a byte of TLS now and then keep a thread."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        gone = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0")  # a hello of 16 KiB begins
                while not gone.wait(0.05):
                    connection.sendall(b"\x00")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        began = time.monotonic()
        outcome = Webhook(f"https://127.0.0.1:{server.getsockname()[1]}/", [SECRET], try_seconds=0.5).send(DUE)
        assert outcome.said == "did not answer in time"
        assert time.monotonic() - began < 15
        gone.set()
        thread.join()


def certificate(folder: Path, address: str) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate for an address that it has signed itself: ``folder/cert.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.parametrize(
    ("address", "trusted", "said"),
    [
        ("127.0.0.1", True, "answered 204"),
        ("127.0.0.1", False, "TLS failed: CERTIFICATE_VERIFY_FAILED"),
        ("127.0.0.2", True, "TLS failed: CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_a_certificate_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, trusted: bool, said: str
) -> None:
    """It must be one that is trusted here, and the address's own; else nothing is posted."""
    with receiving(certificate(tmp_path, address)) as receiver:
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        outcome = Webhook(receiver.url.replace("http:", "https:"), [SECRET]).send(DUE)
        assert outcome.said == said
        assert len(receiver.posts) == outcome.delivered


def test_https_needs_a_certificate_that_holds(receiver: Receiver) -> None:
    """What speaks no TLS gets no alert."""
    outcome = Webhook(receiver.url.replace("http:", "https:"), [SECRET], try_seconds=2.0).send(DUE)
    assert not outcome.delivered
    assert receiver.posts == []


def test_tries_come_ever_more_rarely_and_end() -> None:
    """The standard's waits, each a fifth longer at most; after the tenth try it is a dead letter."""
    hook = Webhook("https://a.example/", [SECRET])
    waits = [hook.wait_seconds(attempts) for attempts in range(1, len(WAIT_SECONDS) + 1)]
    for wait, wanted in zip(waits, WAIT_SECONDS, strict=True):
        assert wait is not None
        assert wanted <= wait <= wanted * 1.2
    assert list(WAIT_SECONDS) == sorted(WAIT_SECONDS)
    assert hook.wait_seconds(len(WAIT_SECONDS) + 1) is None
    assert len({hook.wait_seconds(9) for _ in range(5)}) > 1


def test_nothing_is_sent_unsigned(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret, or no library that signs: both say what to do."""
    with pytest.raises(WrongUsage, match="PAUSELEDGER_WEBHOOK_SECRET"):
        Webhook("https://a.example/", [])
    monkeypatch.setitem(sys.modules, "standardwebhooks", None)
    with pytest.raises(WrongUsage, match=r"pauseledger\[webhooks\]"):
        Webhook("https://a.example/", [SECRET])
