"""A webhook: an alert posted to one address, signed as Standard Webhooks says, by its own library.

An answer of 2xx means delivered; no redirect is followed. 410 means that the address wants no more of it. 429 and 503
say with ``Retry-After`` when to come back, within a day. All else is tried again, ever more rarely, for three days.

A try takes at most ``TRY_SECONDS``, however slowly the other end speaks: the socket is shut under it then.
"""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from consumers.alerts.addresses import target_name
from consumers.alerts.delivery import Outcome
from consumers.alerts.store import Due
from ledger.errors import WrongUsage

if TYPE_CHECKING:
    from standardwebhooks import Webhook as Signer

TRY_SECONDS = 10.0
MINUTE, HOUR = 60.0, 3_600.0
WAIT_SECONDS = (5.0, 5 * MINUTE, 30 * MINUTE, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 24)))
"""After each failed try; after one more it is a dead letter. The times that Standard Webhooks proposes."""
JITTER = 0.2
"""So much longer at most: what failed together is not tried again together."""
LONGEST_WAIT_SECONDS = 24 * HOUR
_MOST_BODY_BYTES = 4_096


def signers(secrets: Sequence[str]) -> list[Signer]:
    """What signs with each secret. Raises ``WrongUsage`` where the library is not installed."""
    try:
        from standardwebhooks import Webhook as Signer
    except ImportError:
        raise WrongUsage("Webhooks need standardwebhooks.", "Run: pip install 'pauseledger[webhooks]'") from None
    return [Signer(secret) for secret in secrets]


class Webhook:
    """One address. ``secrets`` are ``whsec_…``; with two of them each post carries both signatures."""

    def __init__(self, url: str, secrets: Sequence[str], *, try_seconds: float = TRY_SECONDS) -> None:
        if not secrets:
            raise WrongUsage(
                "Webhooks need a secret that signs them.", "Set PAUSELEDGER_WEBHOOK_SECRET to whsec_BASE64."
            )
        self.name = target_name(url)
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._signers = signers(secrets)
        self._try_seconds = try_seconds

    def send(self, due: Due) -> Outcome:
        try:
            status, headers = self._posted(due, datetime.now(UTC))
        except (OSError, http.client.HTTPException) as error:
            return Outcome(False, _said(error))
        if 200 <= status < 300:
            return Outcome(True, f"answered {status}")
        if status == http.HTTPStatus.GONE:
            return Outcome(False, "answered 410: it wants no more of this", hopeless=True)
        if status in (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE):
            seconds = _retry_after(headers.get("retry-after", ""), datetime.now(UTC))
            return Outcome(False, f"answered {status}", wait_seconds=seconds, resting=seconds > 0)
        return Outcome(False, f"answered {status}")

    def wait_seconds(self, attempts: int) -> float | None:
        if attempts > len(WAIT_SECONDS):
            return None
        return WAIT_SECONDS[attempts - 1] * random.uniform(1.0, 1.0 + JITTER)

    def close(self) -> None:
        """No connection is kept."""

    def _posted(self, due: Due, at: datetime) -> tuple[int, Mapping[str, str]]:
        body = due.content.encode()
        with self._connected() as (connection, over):
            connection.request("POST", self._path, body, self._headers(due, at))
            with connection.getresponse() as response:
                if over.is_set():  # it may have been shut in the middle of a header, which reads as its end
                    raise TimeoutError
                headers = {name.lower(): value for name, value in response.getheaders()}
                with suppress(OSError, http.client.HTTPException):  # the status is all that counts
                    response.read(_MOST_BODY_BYTES)
                return response.status, headers

    def _headers(self, due: Due, at: datetime) -> dict[str, str]:
        signatures = [signer.sign(msg_id=due.id, timestamp=at, data=due.content) for signer in self._signers]
        return {
            "content-type": "application/cloudevents+json; charset=utf-8",
            "user-agent": f"pauseledger/{version('pauseledger')}",
            "webhook-id": due.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
            "connection": "close",
        }

    @contextmanager
    def _connected(self) -> Iterator[tuple[http.client.HTTPConnection, threading.Event]]:
        """A connection that is shut when the time for a try is over, and whether it is."""
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=self._try_seconds)
        else:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=self._try_seconds, context=self._tls
            )
        over = threading.Event()
        timer = threading.Timer(self._try_seconds, _shut, [connection, over])
        timer.daemon = True
        timer.start()
        try:
            self._connect(connection)
            if over.is_set():
                raise TimeoutError
            yield connection, over
        except (OSError, http.client.HTTPException) as error:
            if over.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
            connection.close()

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        """Connect, and shake hands where it can be shut meanwhile: inside the library's own ``connect`` it can't."""
        http.client.HTTPConnection.connect(connection)
        if self._tls is not None:
            connection.sock = shaking = self._tls.wrap_socket(
                connection.sock, server_hostname=self._host, do_handshake_on_connect=False
            )
            shaking.do_handshake()


def _shut(connection: http.client.HTTPConnection, over: threading.Event) -> None:
    over.set()
    sock = connection.sock
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _said(error: Exception) -> str:
    """What went wrong, without what the other end sent: that is none of our words."""
    if isinstance(error, TimeoutError):
        return "did not answer in time"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return f"could not be reached: {error.strerror}"
    return f"answered no HTTP ({type(error).__name__})"


def _retry_after(text: str, now: datetime) -> float:
    """The seconds that a ``Retry-After`` asks for, at most a day; zero where it says nothing."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_WAIT_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max((at - now).total_seconds(), 0.0), LONGEST_WAIT_SECONDS)
