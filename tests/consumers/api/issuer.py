"""An issuer of JWTs: keys of its own, a JWKS, and a web server that counts how often it is asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://login.example", "pauseledger"


def rsa_key() -> Any:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


class Issuer:
    """Signs tokens with the keys that its JWKS shows."""

    def __init__(self) -> None:
        self.private: dict[str, tuple[str, Any]] = {
            "rsa": ("RS256", rsa_key()),
            "ec": ("ES256", ec.generate_private_key(ec.SECP256R1())),
            "ed": ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        }

    def jwks(self) -> dict[str, Any]:
        return {"keys": [self._public(kid) for kid in self.private]}

    def _public(self, kid: str) -> dict[str, Any]:
        algorithm, key = self.private[kid]
        writer: Any = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}[algorithm]
        return {**json.loads(writer.to_jwk(key.public_key())), "kid": kid, "use": "sig"}

    def claims(self, **more: Any) -> dict[str, Any]:
        content = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "dana",
            "exp": int(time.time()) + 300,
            "scope": "read publish",
        }
        return {name: value for name, value in (content | more).items() if value is not None}

    def token(self, kid: str = "rsa", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        algorithm, key = self.private[kid]
        return jwt.encode(self.claims(**claims), key, algorithm, headers={"kid": kid, **(headers or {})})


class Web:
    """What a web server answers, by path, and how often each was asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []
        self.url = ""
        self.answers = threading.Event()
        """Answers come while it is set."""
        self.answers.set()


@contextmanager
def web() -> Iterator[Web]:
    """A web server on this machine."""
    site = Web()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append(self.path)
            site.answers.wait()
            found = site.pages.get(self.path)
            self.send_response(302 if isinstance(found, str) else 404 if found is None else 200)
            if isinstance(found, str):
                self.send_header("location", found)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
