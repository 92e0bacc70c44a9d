"""The official client, against ``pauseledger run mcp`` as a process of its own."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from tests.broker import free_port
from tests.faults.command import COMMAND, start
from tests.faults.waiting import until
from tests.test_structure import ROOT

LOG = {"PAUSELEDGER_LOG": "sqlite:///ledger.db"}
REFUND = {"kind": "tool", "name": "refund", "arguments": {"cents": 500}, "idempotency_key": "T-1-refund"}
TERMS = {
    "work_item": "T-1",
    "execution": "run-1",
    "interrupt": "refund",
    "action": REFUND,
    "owner": "service:mcp",
    "fresh_for": "PT1H",
    "side_effect": "not_happened",
}


class Asked:
    """Calls tools, and gives what they tell."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def told(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a call tells that is no error."""
        result = await self.client.call_tool(tool, arguments)
        assert not result.is_error, result.structured_content
        return self._same(result)

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a call tells that is an error: as a result, for the model to read."""
        result = await self.client.call_tool(tool, arguments)
        assert result.is_error, result.structured_content
        told = self._same(result)
        assert {"error", "reason", "advice"} <= told.keys()
        return told

    def _same(self, result: Any) -> dict[str, Any]:
        content: dict[str, Any] = result.structured_content
        assert json.loads(result.content[0].text) == content
        return content


def where(told: dict[str, Any]) -> dict[str, Any]:
    """The arguments that say which pause, of what ``open_pause`` told."""
    return {name: told[name] for name in ("work_item", "execution", "pause")}


@asynccontextmanager
async def over_stdio(folder: Path, *, mode: str = "auto", **env: str) -> AsyncIterator[Asked]:
    """A client that starts the server itself; its stderr goes into a file."""
    environment = {"PYTHONPATH": str(ROOT), **LOG, **env}
    parameters = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "run", "mcp"], env=environment, cwd=folder
    )
    with open(folder / "stderr", "a") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:  # type: ignore[arg-type]
            yield Asked(client)


@asynccontextmanager
async def over_http(url: str, token: str | None = None, *, mode: str = "auto") -> AsyncIterator[Asked]:
    """A client of a server that is up."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    http = create_mcp_http_client(headers=headers)
    async with http, Client(streamable_http_client(url, http_client=http), mode=mode) as client:  # type: ignore[arg-type]
        yield Asked(client)


class Served:
    """A server over HTTP."""

    def __init__(self, process: Any, port: int, said: Path) -> None:
        self.process, self.port, self.said = process, port, said
        self.url = f"http://127.0.0.1:{port}/mcp"

    def post(self, body: Any = None, **headers: str) -> httpx.Response:
        """One request by hand, of a client that lists the tools."""
        known = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        content = body or {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        sent = {**known, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.url, json=content, headers=sent, timeout=20.0)

    def is_up(self) -> bool:
        try:
            return self.post().status_code < 500
        except httpx.TransportError:
            return False

    def ended(self) -> int:
        """SIGTERM; the exit code."""
        os.kill(self.process.pid, signal.SIGTERM)
        return int(self.process.wait(30))


@contextmanager
def served(folder: Path, *jobs: str, **env: str) -> Iterator[Served]:
    """``pauseledger run mcp`` over HTTP in a folder, up; killed afterwards, if it has not ended."""
    port, said = free_port(), folder / f"stderr-{len(list(folder.glob('stderr-*')))}"
    settings = {**LOG, "PAUSELEDGER_MCP_TRANSPORT": "http", "PAUSELEDGER_MCP_PORT": str(port), **env}
    with said.open("wb") as stream:
        process = start("run", *(jobs or ("mcp",)), folder=folder, env=settings, stderr=stream)
        server = Served(process, port, said)
        try:
            until(lambda: process.poll() is not None or server.is_up(), what="the server")
            assert process.poll() is None, said.read_text()
            yield server
        finally:
            process.kill()
            process.communicate()
