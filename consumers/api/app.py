"""The application: the routes of the table, the errors as problem documents, paths as they came."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from consumers.api import events, health, listings, reads, streams
from consumers.api.access import OPEN_ROUTES, ROUTES
from consumers.api.gate import Gate, GatedRoute
from consumers.api.openapi import described
from consumers.api.problems import MEDIA_TYPE, Problem, problem_of
from consumers.api.room import Room
from consumers.settings import Settings
from ledger.errors import LedgerError

_LOG = logging.getLogger("pauseledger.api")

Endpoint = Callable[..., Awaitable[Response]]

ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/v1/work-items/{subject}/decision"): reads.decisions,  # asked for most, and looked for first
    ("POST", "/v1/events"): events.publish,
    ("GET", "/v1/work-items"): listings.work_items,
    ("GET", "/v1/work-items/{subject}"): reads.work_item,
    ("GET", "/v1/work-items/{subject}/decisions/stream"): streams.decisions,
    ("GET", "/v1/work-items/{subject}/trail"): reads.trail,
    ("GET", "/v1/work-items/{subject}/pauses/{pause}"): reads.packet,
    ("GET", "/v1/work-items/{subject}/pauses/{pause}/decision"): reads.decision,
    ("GET", "/v1/decisions"): listings.decisions,
    ("GET", "/v1/decisions/stream"): streams.all_decisions,
    ("GET", "/v1/inbox"): listings.inbox,
    ("GET", "/v1/debts"): listings.debts,
    ("GET", "/v1/deadlines"): listings.deadlines,
    ("GET", "/v1/owners"): listings.owners,
    ("GET", "/v1/status"): health.status,
    ("GET", "/healthz"): health.healthz,
    ("GET", "/readyz"): health.readyz,
    ("GET", "/problems/{name}"): health.problem,
}


class PathsAsTheyCame:
    """Routes are found by the path before it is decoded: ``a%2Fb`` is one work item."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (raw := scope.get("raw_path")):
            scope["path"] = raw.partition(b"?")[0].decode("latin-1")
        await self._app(scope, receive, send)


def make_app(settings: Settings) -> FastAPI:
    """The application on a ledger, which is opened when it starts and closed when it ends. Raises ``WrongUsage``."""
    gate = Gate(settings)

    @asynccontextmanager
    async def open_room(app: FastAPI) -> AsyncIterator[None]:
        app.state.room = room = Room(settings)
        try:
            yield
        finally:
            await run_in_threadpool(room.close)

    app = FastAPI(
        title="pauseledger",
        docs_url=None,  # its page would load scripts from somebody else's server
        redoc_url=None,
        openapi_url=None,
        lifespan=open_room,
        redirect_slashes=False,
    )
    app.state.gate = gate
    app.router.route_class = GatedRoute
    assert ENDPOINTS.keys() == {*ROUTES, *OPEN_ROUTES} - {("GET", "/openapi.json")}
    for (method, path), endpoint in ENDPOINTS.items():
        name = f"{endpoint.__module__.rpartition('.')[2]}-{endpoint.__name__}".replace("_", "-")
        app.add_api_route(path, endpoint, methods=[method], response_model=None, operation_id=name)
    document: dict[str, Any] = described(app)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.add_route("/openapi.json", _openapi, methods=["GET"], include_in_schema=False)
    _answer_errors(app)
    app.add_middleware(PathsAsTheyCame)
    return app


async def _openapi(request: Request) -> Response:
    from consumers.api.room import json_response

    return json_response(request.app.openapi())


def _answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(LedgerError, _ledger_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


def _answered(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, problem.headers, MEDIA_TYPE)


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answered(error)


async def _ledger_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, LedgerError)
    return _answered(problem_of(error))


async def _bad_parameter(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = " ".join(str(part) for part in first["loc"])
    return _answered(Problem("bad-parameter", f"{place}: {first['msg']}."))


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kinds = {404: "not-found", 405: "method-not-allowed", 400: "bad-event"}
    kind = kinds.get(error.status_code, "internal")
    return _answered(Problem(kind, f"{error.detail}.", headers=error.headers))


async def _bug(_: Request, error: Exception) -> Response:
    _LOG.error("A request failed.", exc_info=error)
    return _answered(Problem("internal", "The server failed; its log says where."))
