"""The gate that every request passes: who asks, what the route needs, and how often he has asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from consumers.api.access import EVERYBODY, ROUTES, Credential, refuse_scopes
from consumers.api.bearers import Bearer, Bearers, Claims, RefusedToken
from consumers.api.jwks import Jwks
from consumers.api.problems import Problem
from consumers.api.rate import Rates
from consumers.api.tokens import Tokens
from consumers.settings import Settings
from ledger.errors import WrongUsage

_CALLER = "pauseledger.caller"
_CHALLENGE = {"www-authenticate": 'Bearer realm="pauseledger"'}
_WRONG = {"www-authenticate": 'Bearer realm="pauseledger", error="invalid_token"'}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Admitted(NamedTuple):
    """Who was let in, and until when (seconds since 1970; null: as long as the token stands in the file)."""

    credential: Credential
    ends: float | None = None


class Gate:
    """Tokens, JWTs, or neither: then everybody on this machine may do everything."""

    def __init__(self, settings: Settings) -> None:
        self.tokens = None if settings.api_tokens is None else Tokens(settings.api_tokens)
        self.bearers = _bearers(settings)
        self.rates = Rates(settings.api_rate, settings.api_burst)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who he is."""
        return self.tokens is None and self.bearers is None

    async def admitted(self, request: Request) -> Admitted:
        """Who asks. Raises a ``Problem``."""
        if self.is_open:
            _refuse_strangers(request)
            return Admitted(EVERYBODY)
        given = request.headers.getlist("authorization")
        if not given:
            raise Problem("unauthenticated", "No token came with the request.", headers=_CHALLENGE)
        scheme, _, token = given[0].partition(" ")
        token = token.strip()
        if len(given) > 1 or scheme.lower() != "bearer" or not token:
            raise Problem("unauthenticated", "One Authorization header is wanted: Bearer TOKEN.", headers=_CHALLENGE)
        found = await self._found(token)
        if found is None:
            raise Problem("unauthenticated", "This token is not valid.", headers=_WRONG)
        return found

    async def _found(self, token: str) -> Admitted | None:
        if self.tokens is not None:
            try:
                if (credential := self.tokens.find(token)) is not None:
                    return Admitted(credential)
            except WrongUsage:
                raise Problem("internal", "The server can't read who may come in.") from None
        if self.bearers is None or token.count(".") != 2:
            return None
        try:  # in a thread: the issuer may have to be asked for its keys
            found: Bearer = await run_in_threadpool(self.bearers.find, token)
        except RefusedToken:
            return None
        return Admitted(found.credential, found.ends)

    async def still(self, request: Request, admitted: Admitted) -> bool:
        """Whether who was let in would be let in again now: for what lasts."""
        if admitted.ends is not None and time.time() > admitted.ends:
            return False
        try:
            return (await self.admitted(request)).credential == admitted.credential
        except Problem:
            return False


def _bearers(settings: Settings) -> Bearers | None:
    if not (settings.api_issuer or settings.api_audience or settings.api_jwks):
        return None
    if not settings.api_issuer or not settings.api_audience:
        raise WrongUsage(
            "JWTs need PAUSELEDGER_API_ISSUER and PAUSELEDGER_API_AUDIENCE.",
            "Without an audience a token for any other program of the issuer would count here.",
        )
    claims = Claims(
        settings.api_issuer,
        settings.api_audience,
        settings.api_actor_claim,
        settings.api_actor_prefix,
        settings.api_role_prefix,
        settings.api_leeway_seconds,
    )
    return Bearers(Jwks(settings.api_jwks, settings.api_issuer), claims)


_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def _refuse_strangers(request: Request) -> None:
    """Raises a ``Problem`` for what did not come from this machine's own programs, where nobody is asked who he is."""
    host = request.headers.get("host", "")
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name.lower()):  # a page of the web that gives its own name this machine's address
        raise Problem("wrong-host", "Without authentication this server answers to this machine's own names only.")
    if any(one in request.headers for one in _FORWARDED):  # a proxy: those behind it are anybody
        raise Problem("wrong-host", "Without authentication this server answers nobody through a proxy.")
    origins = request.headers.getlist("origin")
    if any(not _is_local_page(one) for one in origins):  # a page of the web that asks under this machine's own name
        raise Problem("wrong-host", "Without authentication this server answers no page of another machine.")


def _is_local_page(origin: str) -> bool:
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False


def _refuse_unknown_parameters(request: Request, known: frozenset[str]) -> None:
    """Raises a ``Problem``: who misspells ``at`` must not get the present for the past."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise Problem("bad-parameter", f"There is no parameter {name!r} here.")
        if given.count(name) > 1:
            raise Problem("bad-parameter", f"The parameter {name} is there twice.")


class GatedRoute(APIRoute):
    """A route before whose handler the gate stands: what is in the table is let in, or a ``Problem`` is raised.

    Not a dependency: FastAPI takes longer to find a dependency's arguments than to let somebody in.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        scopes = [ROUTES[method, self.path] for method in self.methods or () if (method, self.path) in ROUTES]
        if not scopes:
            return handle
        known = frozenset(field.alias for field in self.dependant.query_params)

        async def gated(request: Request) -> Response:
            gate: Gate = request.app.state.gate
            found = await gate.admitted(request)
            gate.rates.take(found.credential.name)
            refuse_scopes(found.credential, scopes[0])
            if request.scope["query_string"]:
                _refuse_unknown_parameters(request, known)
            request.scope[_CALLER] = found
            return await handle(request)

        return gated


def caller_of(request: Request) -> Admitted:
    """Who was let in."""
    caller: Admitted = request.scope[_CALLER]
    return caller
