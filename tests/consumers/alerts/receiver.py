"""A real HTTP server that receives webhooks, and answers as a test wants."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import orjson
from standardwebhooks import Webhook as Signer

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


class Post(NamedTuple):
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent, whose signature must hold."""
        Signer(SECRET).verify(self.body, self.headers)
        return dict(orjson.loads(self.body))


class Receiver:
    """What came in, oldest first. ``answer`` is what is answered: status and headers."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook?key=k"
        self.posts: list[Post] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.hold = threading.Event()
        self.hold.set()
        self.drip = False

    @property
    def ids(self) -> list[str]:
        return [post.headers["webhook-id"] for post in self.posts]


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server on a free port, ended afterwards."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    receiver = server.receiver = Receiver(server.server_port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        receiver.drip = False
        server.shutdown()
        thread.join()
        server.server_close()


class _Answers(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        receiver: Receiver = self.server.receiver
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender was killed in the middle: that is no request
            self.close_connection = True
            return
        receiver.posts.append(Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        receiver.hold.wait(60)
        try:
            self._answer(receiver)
        except OSError:  # the other end has gone
            self.close_connection = True

    def do_GET(self) -> None:
        self.server.receiver.posts.append(Post("GET " + self.path, {}, b""))
        self.send_response(200)
        self.end_headers()

    def _answer(self, receiver: Receiver) -> None:
        if receiver.drip:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nslow: ")
        while receiver.drip:  # a header that never ends, a byte at a time
            self.wfile.write(b"x")
            self.wfile.flush()
            threading.Event().wait(0.05)
        self.send_response(receiver.status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
