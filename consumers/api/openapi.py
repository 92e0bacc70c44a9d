"""The OpenAPI document: what FastAPI reads off the routes, and answers, examples, scopes and errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from consumers.api import examples
from consumers.api.access import ROUTES
from consumers.api.problems import KINDS, MEDIA_TYPE, Problem

_ALWAYS = ("unauthenticated", "missing-scope", "wrong-host", "too-many-requests", "internal")
_READ = ("bad-parameter", "out-of-reach", "log-unavailable", "disk-failed")
_PUBLISH = (
    "bad-parameter",
    "bad-event",
    "another-actor",
    "too-slow",
    "body-too-large",
    "unsupported-media-type",
    "log-unavailable",
    "disk-failed",
)
_SCHEMA = "#/components/schemas/"


def described(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    document = get_openapi(
        title="pauseledger",
        version="1",
        summary="The audit ledger that decides whether a paused AI agent may go on.",
        description="Errors are RFC 9457 problem documents; GET /problems/{name} says what each means.",
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    components["schemas"] = examples.SCHEMAS
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A static token, or a JWT of the issuer."}
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _complete(operation, method.upper(), path)
    return document


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    scopes = ROUTES.get((method, path))
    if scopes is not None:
        operation["security"] = [{"bearer": [scope]} for scope in scopes]
        operation["description"] += f"\n\nNeeds the scope {' or '.join(scopes)}."
    responses: dict[str, Any] = {"200": _answer(path)}
    for kind in _kinds(path, needs_scope=scopes is not None):
        status = str(KINDS[kind].status)
        found = responses.setdefault(status, _refusal(KINDS[kind].title))
        found["content"][MEDIA_TYPE]["examples"][kind] = {"value": Problem(kind, KINDS[kind].advice).as_dict()}
    if path == "/v1/events":
        operation["requestBody"] = examples.REQUEST
        operation["parameters"] = []
        responses["202"] = _json(examples.UNKNOWN, "Verdict", "No verdict in time: it may or may not be recorded.")
    operation["responses"] = responses


def _kinds(path: str, *, needs_scope: bool) -> tuple[str, ...]:
    if path == "/v1/events":
        return (*_ALWAYS, *_PUBLISH, "wrong-usage", "out-of-reach", "batch-too-large")
    if path == "/readyz":
        return ("not-ready", "internal")
    if not needs_scope:
        return ("not-found", "bad-parameter", "internal") if "{" in path else ("internal",)
    more: tuple[str, ...] = ("not-found",) if "{" in path else ()
    more += ("bad-cursor",) if "{" not in path or "stream" in path else ()
    return (*_ALWAYS, *_READ, *more, *(("too-many-streams",) if "stream" in path else ()))


def _answer(path: str) -> dict[str, Any]:
    found = examples.ANSWERS[path]
    if isinstance(found, str):
        content = {"schema": {"type": "string"}, "example": found}
        return {"description": "Events, as they come.", "content": {"text/event-stream": content}}
    example, schema, description = found
    return _json(example, schema, description)


def _json(example: Any, schema: str | dict[str, Any], description: str) -> dict[str, Any]:
    shape = {"$ref": _SCHEMA + schema} if isinstance(schema, str) else schema
    return {"description": description, "content": {"application/json": {"schema": shape, "example": example}}}


def _refusal(title: str) -> dict[str, Any]:
    content = {"schema": {"$ref": f"{_SCHEMA}Problem"}, "examples": {}}
    return {"description": title, "content": {MEDIA_TYPE: content}}
