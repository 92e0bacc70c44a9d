"""``pauseledger run mcp``: over stdin and stdout for one client, or over HTTP for many, behind the API's tokens."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from typing import Any

import anyio

from consumers.api.access import SCOPES, Credential
from consumers.comma_lists import by_commas
from consumers.gates import LedgerReader, open_gate
from consumers.mcp.server import Caller, Desk, make_server
from consumers.mcp.terms import Terms
from consumers.settings import Settings
from ledger.actions import is_identifier
from ledger.errors import WrongUsage
from ledger.runtimes.extras import needs

with needs("mcp"):
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel.server import Server
    from mcp.server.stdio import stdio_server
    from starlette.applications import Starlette

    from consumers.api.listening import OrderlyServer, configured
    from consumers.mcp.door import Door, caller_of, security_of

_OPEN = (
    "pauseledger: nobody is asked who he is (no PAUSELEDGER_API_TOKENS, no PAUSELEDGER_API_ISSUER): the MCP server"
    " answers only on {host}, and everybody on this machine speaks as {actor} with the scopes {scopes}."
)
_LOOK_SECONDS = 0.05


def operator_credential(settings: Settings) -> Credential:
    """Who a client is that is not asked: what the operator configured. Raises ``WrongUsage``."""
    roles, scopes = by_commas(settings.mcp_roles), by_commas(settings.mcp_scopes)
    if not is_identifier(settings.mcp_actor):
        raise WrongUsage("PAUSELEDGER_MCP_ACTOR is no name of 1 to 256 characters.", "Set it: service:NAME, user:NAME.")
    if wrong := [scope for scope in scopes if scope not in SCOPES]:
        raise WrongUsage(f"PAUSELEDGER_MCP_SCOPES: there is no scope {wrong[0]!r}.", f"Scopes: {', '.join(SCOPES)}.")
    return Credential("mcp", settings.mcp_actor, roles, frozenset(scopes), by_commas(settings.mcp_prefixes))


@contextmanager
def open_server(settings: Settings, caller: Caller, terms: Terms) -> Iterator[Server[Any]]:
    """The server on its ledger, which is opened when a tool first needs it."""
    reader = LedgerReader(settings, seconds=settings.mcp_seconds)
    gate = open_gate(
        settings.log_url,
        index_url=settings.index_url,
        outbox=settings.api_outbox,
        source=settings.mcp_source,
        deadline_seconds=settings.mcp_seconds,
        reader=reader,
    )
    with closing(reader), gate as opened:
        yield make_server(Desk(opened, reader, caller, terms))


def serve_stdio(settings: Settings) -> int:
    """Serve the one client on stdin and stdout until it hangs up, or SIGTERM comes; the exit code."""
    credential, terms = operator_credential(settings), Terms.of(settings.mcp_terms)
    with ExitStack() as opened:
        server = opened.enter_context(open_server(settings, lambda _: credential, terms))
        anyio.run(_over_stdio, server, opened)
    return 0


async def _over_stdio(server: Server[Any], opened: ExitStack) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_until_signal, opened)
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
        tasks.cancel_scope.cancel()


async def _until_signal(opened: ExitStack) -> None:
    """End the process at a signal: the thread that reads stdin can't be told to, so it is not waited for."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            await anyio.to_thread.run_sync(opened.close)
            sys.stderr.flush()
            os._exit(0)


def http_server(settings: Settings) -> OrderlyServer:
    """The HTTP server, ready to run. Raises ``WrongUsage`` where it may not bind what it is told to."""
    door, terms = Door(settings, operator_credential(settings)), Terms.of(settings.mcp_terms)
    if door.is_open:
        scopes = ", ".join(sorted(door.everybody.scopes)) or "none"
        said = _OPEN.format(host=settings.mcp_host, actor=settings.mcp_actor, scopes=scopes)
        print(said, file=sys.stderr, flush=True)
    config = configured(
        _app(settings, door, terms),
        settings,
        host=settings.mcp_host,
        port=settings.mcp_port,
        seconds=settings.mcp_seconds,
        log_config=None,
        access_log=False,
    )
    return OrderlyServer(config)


def _app(settings: Settings, door: Door, terms: Terms) -> Any:
    """The application: the door, and behind it the package's own transport, without sessions.

    Without sessions each request stands for itself: any process may answer it, and its credential is its own.
    """

    def caller(ctx: ServerRequestContext) -> Credential:
        return caller_of(ctx.request)

    opened = Starlette(lifespan=_on_ledger(settings, caller, door, terms))
    opened.add_middleware(door.middleware)
    return opened


def _on_ledger(settings: Settings, caller: Caller, door: Door, terms: Terms) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with open_server(settings, caller, terms) as server:
            inner = server.streamable_http_app(
                stateless_http=True,
                json_response=True,
                transport_security=security_of(settings, is_open=door.is_open),
                max_request_body_size=settings.api_body_bytes,
            )
            app.router.routes.extend(inner.routes)
            async with server.session_manager.run():
                yield

    return lifespan


def serve_http(settings: Settings) -> int:
    """Serve over HTTP until SIGTERM or SIGINT; the exit code."""
    server = http_server(settings)
    server.run()
    return 0 if server.started else 1


def beside(settings: Settings) -> Callable[[Any], Callable[[], None]]:
    """What starts the HTTP server beside a fleet's jobs, and gives what ends it. Raises ``WrongUsage``."""
    server = http_server(settings)

    def start(_: Any) -> Callable[[], None]:
        thread = threading.Thread(target=server.run, name="mcp", daemon=True)
        thread.start()
        while thread.is_alive() and not server.started:
            thread.join(_LOOK_SECONDS)
        if not server.started:
            advice = "See the lines above: the port may be another's."
            raise WrongUsage(f"The MCP server can't serve {settings.mcp_host}:{settings.mcp_port}.", advice)

        def stop() -> None:
            server.should_exit = True
            thread.join(settings.mcp_seconds + 10.0)

        return stop

    return start
