"""The door of the MCP server over HTTP: the same tokens, rates and refusals as the HTTP API's.

Host and Origin are checked on every request, with tokens or without: a page of the web that gives its own name this
machine's address must not speak to the server (DNS rebinding).
"""

from __future__ import annotations

from typing import Any

from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from consumers.api.access import Credential
from consumers.api.gate import Gate
from consumers.api.listening import refuse_open_address
from consumers.api.problems import MEDIA_TYPE, Problem, problem_of
from consumers.comma_lists import by_commas
from consumers.settings import Settings
from ledger.errors import LedgerError

_CALLER = "pauseledger.credential"
_LOCAL = ("127.0.0.1", "localhost", "[::1]")


class Door:
    """Who is let in. Raises ``WrongUsage`` where nobody would be asked and the address is not this machine's own."""

    def __init__(self, settings: Settings, everybody: Credential) -> None:
        self.everybody = everybody
        self._gate = Gate(settings)
        if self.is_open:
            refuse_open_address(settings.mcp_host, "MCP")

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who he is: then everybody on this machine is whom the operator named."""
        return self._gate.is_open

    async def admitted(self, request: Request) -> Credential:
        """Who asks. Raises ``Problem``."""
        found = (await self._gate.admitted(request)).credential
        credential = self.everybody if self.is_open else found
        self._gate.rates.take(credential.name)
        return credential

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """The application behind the door."""

        async def gated(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                try:
                    scope[_CALLER] = await self.admitted(Request(scope))
                except (Problem, LedgerError) as error:
                    problem = problem_of(error) if isinstance(error, LedgerError) else error
                    refused = Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)
                    return await refused(scope, receive, send)
            return await app(scope, receive, send)

        return gated


def caller_of(request: Any) -> Credential:
    """Who was let in with this request."""
    credential: Credential = request.scope[_CALLER]
    return credential


def security_of(settings: Settings, *, is_open: bool) -> TransportSecuritySettings:
    """The names that the server answers to, and the pages that may ask it: this machine's own, and those configured."""
    names = [*_LOCAL, *(() if is_open else by_commas(settings.mcp_names))]
    hosts = [form for name in names for form in (name, f"{name}:*")]
    origins = [f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)
