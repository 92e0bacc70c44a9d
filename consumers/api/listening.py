"""What every HTTP server of ours has in one: where it may bind, how uvicorn is set up, and how it ends."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import uvicorn

from consumers.api.gate import is_loopback
from consumers.settings import Settings
from ledger.errors import WrongUsage


class OrderlyServer(uvicorn.Server):
    """Unlike uvicorn's own it does not die of the signal after all is done: an orderly end is exit code 0."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def refuse_open_address(host: str, what: str) -> None:
    """Raises ``WrongUsage`` where nobody would be asked who he is, and others than this machine reach the address."""
    if not is_loopback(host):
        raise WrongUsage(
            f"Without authentication {what} binds this machine's own address only, not {host}.",
            "Set PAUSELEDGER_API_TOKENS, or PAUSELEDGER_API_ISSUER and PAUSELEDGER_API_AUDIENCE: docs/http.md.",
        )


def configured(app: Any, settings: Settings, *, host: str, port: int, seconds: float, **logging: Any) -> uvicorn.Config:
    """uvicorn's configuration; ``seconds`` is how long a request may take, and is waited for at the end."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        server_header=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=int(seconds) + 5,
        ssl_certfile=settings.api_tls_certificate,
        ssl_keyfile=settings.api_tls_key,
        **logging,
    )
