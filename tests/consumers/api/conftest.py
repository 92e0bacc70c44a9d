"""A ledger in a folder, its HTTP API in this process, and tokens of every kind."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from consumers.api.app import make_app
from consumers.api.tokens import add_token, new_token
from consumers.settings import Settings
from tests.faults.ledgers import url
from tests.faults.lines import event
from tests.faults.waiting import until

STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


def settings_in(folder: Path, **given: Any) -> Settings:
    """The settings of an API on the embedded ledger of a folder."""
    given = {"api_outbox": folder / "outbox", "api_rate": 0.0, **given}
    return Settings.read(given.pop("log", url(folder / "ledger.db")), given.pop("index", None), **given)


class Api(httpx.Client):
    """A client of a server of its own; ``app`` is what it serves."""

    app: Any
    port: int


@contextmanager
def api(folder: Path, **given: Any) -> Iterator[Api]:
    """The API on a ledger in this folder: a real server on a port of its own, in a thread, ended with its work done."""
    app = make_app(settings_in(folder, **given))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), what="the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        with Api(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
            client.app, client.port = app, port
            yield client
    finally:
        if hasattr(app.state, "room"):
            app.state.room.live.stop()
        server.should_exit = True
        thread.join(timeout=30.0)
        assert not thread.is_alive()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Api]:
    """An API without authentication."""
    with api(tmp_path) as opened:
        yield opened


def token(
    path: Path, actor: str = "user:dana", scopes: tuple[str, ...] = ("publish", "read", "review"), **more: Any
) -> str:
    """A fresh token in a file."""
    made, entry = new_token(actor=actor, scopes=scopes, **more)
    add_token(path, entry)
    return made


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def publish(client: Api, name: str, data: object, headers: dict[str, str] | None = None, **attributes: Any) -> Any:
    """Publish an event in structured mode; the answer."""
    content = json.dumps(event(name, data, **attributes))
    return client.post("/v1/events", content=content, headers=STRUCTURED | (headers or {}))


def is_problem(answer: Any, kind: str) -> bool:
    """Whether an answer is the problem document of this kind, whole."""
    content = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert content["status"] == answer.status_code
    assert content["title"]
    assert content["detail"]
    return bool(content["type"] == f"/problems/{kind}")
