"""The server's process: what it binds, what it says, and how it ends."""

from __future__ import annotations

import copy
import sys
from types import FrameType
from typing import Any

from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from consumers.api.app import make_app
from consumers.api.gate import Gate, is_loopback
from consumers.api.listening import OrderlyServer, configured, refuse_open_address
from consumers.settings import Settings

_OPEN = (
    "pauseledger: nobody is asked who he is (no PAUSELEDGER_API_TOKENS, no PAUSELEDGER_API_ISSUER): this server answers"
    " only on {host}, and everybody on this machine may publish as anybody."
)
_PLAIN = (
    "pauseledger: tokens come to http://{host} unencrypted, and whoever sees one on its way can use it: set"
    " PAUSELEDGER_API_TLS_CERTIFICATE and PAUSELEDGER_API_TLS_KEY, or let only a proxy with TLS reach this address."
)


class Server(OrderlyServer):
    """Ends its streams at the first signal: uvicorn waits for connections, and a stream would never end by itself."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        app = self.config.app
        if isinstance(app, FastAPI) and (room := getattr(app.state, "room", None)) is not None:
            room.live.stop()
        super().handle_exit(sig, frame)


def _logging() -> dict[str, Any]:
    """Everything on stderr; stdout stays empty, as with every command that has nothing to print."""
    config = copy.deepcopy(LOGGING_CONFIG)
    config["handlers"]["access"]["stream"] = "ext://sys.stderr"
    return config


def warning(settings: Settings, *, is_open: bool) -> str:
    """What whoever starts the server should know of who may reach it; empty where there is nothing to say."""
    if is_open:
        return _OPEN.format(host=settings.api_host)
    if settings.api_tls_certificate is None and not is_loopback(settings.api_host):
        return _PLAIN.format(host=settings.api_host)
    return ""


def serve(settings: Settings, *, access_log: bool = False) -> None:
    """Serve until a signal comes. Raises ``WrongUsage`` where it may not bind what it is told to."""
    app = make_app(settings)
    gate: Gate = app.state.gate
    if gate.is_open:
        refuse_open_address(settings.api_host, "the API")
    if warned := warning(settings, is_open=gate.is_open):
        print(warned, file=sys.stderr, flush=True)
    config = configured(
        app,
        settings,
        host=settings.api_host,
        port=settings.api_port,
        seconds=settings.api_publish_seconds,
        log_config=_logging(),
        access_log=access_log,
    )
    Server(config).run()
