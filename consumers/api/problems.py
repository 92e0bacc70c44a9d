"""Everything that can go wrong over HTTP, as RFC 9457 problem documents. One table; each type is a page of the API."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from ledger.errors import (
    DiskFailed,
    Fenced,
    LedgerError,
    LogChanged,
    LogUnavailable,
    NotFound,
    UnusableLog,
    WrongUsage,
)
from ledger.json_text import write_json

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """A kind of problem: its status, its title, and what the caller does about it."""

    status: int
    title: str
    advice: str


KINDS: dict[str, Kind] = {
    "bad-parameter": Kind(400, "A parameter can't be meant as it is", "See the parameter in /openapi.json."),
    "bad-cursor": Kind(400, "This is no cursor of this listing or stream", "Start without one."),
    "bad-event": Kind(400, "The body is no event that could be recorded", "Nothing was recorded. Mend the body."),
    "wrong-usage": Kind(400, "The ledger can't take that", "The detail says what to change."),
    "unauthenticated": Kind(401, "Who asks is not known", "Send a valid token: Authorization: Bearer …"),
    "missing-scope": Kind(403, "The credential lacks a scope", "Ask for a token that has it."),
    "out-of-reach": Kind(403, "The credential is narrowed to others", "Ask for a token that reaches it."),
    "another-actor": Kind(
        403, "The event claims another actor", "Leave actor and actorroles out: the server sets them."
    ),
    "not-found": Kind(404, "There is no such thing", "See /openapi.json for what there is."),
    "method-not-allowed": Kind(405, "This method means nothing here", "See the Allow header."),
    "too-slow": Kind(408, "The body did not come in time", "Send it again, at once."),
    "body-too-large": Kind(413, "The body is too large", "Send less at once; keep large evidence elsewhere."),
    "batch-too-large": Kind(413, "The batch has too many events", "Send it in parts."),
    "unsupported-media-type": Kind(
        415,
        "This content type is no CloudEvent",
        "Send application/cloudevents+json, application/cloudevents-batch+json, or ce- headers.",
    ),
    "wrong-host": Kind(421, "This server is asked under a name that is not its own", "Ask 127.0.0.1 or localhost."),
    "too-many-requests": Kind(429, "Too many requests", "Wait as long as Retry-After says."),
    "too-many-streams": Kind(429, "Too many event streams", "Close one, or wait as long as Retry-After says."),
    "internal": Kind(500, "The server failed", "It is in the server's log. Try again, then tell whoever runs it."),
    "log-changed": Kind(500, "The log is not the one that was read before", "Whoever runs the server must look."),
    "unusable-log": Kind(500, "The log or the index can't be used", "Whoever runs the server must look."),
    "log-unavailable": Kind(503, "The log or the index is away", "Try again as Retry-After says: nothing was lost."),
    "not-caught-up": Kind(503, "The index has not caught up in time", "Try again as Retry-After says."),
    "not-ready": Kind(503, "The server is not ready", "Try again as Retry-After says."),
    "shutting-down": Kind(503, "The server is shutting down", "Try again as Retry-After says."),
    "disk-failed": Kind(
        507,
        "The disk can't take it",
        "What was not acknowledged may or may not be there. Make room, then send it again under the same id.",
    ),
}

_OF_ERRORS: tuple[tuple[type[LedgerError], str], ...] = (
    (NotFound, "not-found"),
    (WrongUsage, "wrong-usage"),
    (LogUnavailable, "log-unavailable"),
    (Fenced, "log-unavailable"),
    (DiskFailed, "disk-failed"),
    (LogChanged, "log-changed"),
    (UnusableLog, "unusable-log"),
)
_LOG = logging.getLogger("pauseledger.api")
_RETRY_AFTER_SECONDS = {429: "1", 503: "2"}


class Problem(Exception):
    """A problem of one kind; ``headers`` go with the answer, ``members`` are put into the document."""

    def __init__(self, kind: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.members = members
        retry = _RETRY_AFTER_SECONDS.get(self.status)
        self.headers = ({} if retry is None else {"retry-after": retry}) | dict(headers or {})

    @property
    def status(self) -> int:
        return KINDS[self.kind].status

    def as_dict(self) -> dict[str, Any]:
        """The problem document."""
        return {
            "type": f"/problems/{self.kind}",
            "title": KINDS[self.kind].title,
            "status": self.status,
            "detail": self.detail,
            **self.members,
        }

    def body(self) -> bytes:
        return write_json(self.as_dict())


def problem_of(error: LedgerError) -> Problem:
    """What the ledger's own errors are over HTTP.

    Those of the server name its files and hosts: they go to the log, and the caller is told only that they did.
    """
    kind = next((name for known, name in _OF_ERRORS if isinstance(error, known)), "internal")
    if KINDS[kind].status < 500:
        return Problem(kind, str(error))
    _LOG.error("%s", error)
    return Problem(kind, "The server's log says what is wrong.")
