"""Who may do what: two tables, and what a credential is narrowed to.

1. A route needs one scope: :data:`ROUTES`. No scope includes another.
2. ``POST /v1/events`` needs the scope of each event's type: :data:`EVENT_SCOPES`. What is no event of the ledger needs
   ``publish``: it is recorded, and its verdict is ``malformed``.
3. ``prefixes`` narrow a credential to work items whose name starts with one of them; ``routes`` to work items of which
   every route that an execution or a pause names is among them, and at least one is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from consumers.api.problems import Problem
from ledger.packet import WorkItem

Scope = Literal["publish", "read", "review", "admin"]
SCOPES: tuple[Scope, ...] = ("publish", "read", "review", "admin")

ROUTES: dict[tuple[str, str], tuple[Scope, ...]] = {
    ("POST", "/v1/events"): ("publish", "review"),  # one of them; which, says each event's type
    ("GET", "/v1/work-items"): ("read",),
    ("GET", "/v1/work-items/{subject}"): ("read",),
    ("GET", "/v1/work-items/{subject}/decision"): ("read",),
    ("GET", "/v1/work-items/{subject}/decisions/stream"): ("read",),
    ("GET", "/v1/work-items/{subject}/trail"): ("read",),
    ("GET", "/v1/work-items/{subject}/pauses/{pause}"): ("read",),
    ("GET", "/v1/work-items/{subject}/pauses/{pause}/decision"): ("read",),
    ("GET", "/v1/decisions"): ("read",),
    ("GET", "/v1/decisions/stream"): ("read",),
    ("GET", "/v1/inbox"): ("read",),
    ("GET", "/v1/debts"): ("read",),
    ("GET", "/v1/deadlines"): ("read",),
    ("GET", "/v1/owners"): ("read",),
    ("GET", "/v1/status"): ("admin",),
}
"""Every route that needs a credential, and the scopes of which it needs one."""

OPEN_ROUTES = (("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/problems/{name}"), ("GET", "/openapi.json"))
"""The routes that need none: they tell nothing of what is on the ledger."""

_REVIEW = ("review.decided", "debt.waived", "owner.changed")
_PUBLISH = (
    "execution.claimed",
    "execution.finished",
    "pause.opened",
    "heartbeat.recorded",
    "work.moved",
    "branch.started",
    "inputs.changed",
    "inputs.rechecked",
    "resume.requested",
    "side_effect.attempted",
    "side_effect.observed",
    "pause.closed",
    "note.added",
)
EVENT_SCOPES: dict[str, Scope] = {
    **{f"pauseledger.{name}": "publish" for name in _PUBLISH},
    **{f"pauseledger.{name}": "review" for name in _REVIEW},
}
"""What a person decides, or signs for, needs ``review``; what a runtime reports or asks for, ``publish``."""
_NAMING_A_ROUTE = ("pauseledger.execution.claimed", "pauseledger.pause.opened")


@dataclass(frozen=True)
class Credential:
    """Who asks. ``actor`` is null only where nobody is asked who he is: then the caller's claim stands."""

    name: str
    actor: str | None
    roles: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()

    def has_prefix(self, subject: str) -> bool:
        """Whether the name of a work item is within reach."""
        return not self.prefixes or subject.startswith(self.prefixes)

    def may_see(self, *states: WorkItem | None) -> bool:
        """Whether a work item, in all of these states, is on this credential's routes."""
        if not self.routes:
            return True
        named = {route for item in states if item is not None for route in routes_of(item)}
        return bool(named) and named <= set(self.routes)


EVERYBODY = Credential("everybody", None, scopes=frozenset(SCOPES))
"""Who asks a server without any authentication: it is bound to this machine."""


def routes_of(item: WorkItem) -> set[str]:
    """The routes that a work item belongs to: those of its executions, and of its pauses."""
    named = {one.route for one in item.executions.values()} | {one.terms.route for one in item.pauses.values()}
    return {route for route in named if route is not None}


def refuse_subject(credential: Credential, subject: str | None) -> None:
    """Raises a ``Problem`` for a work item whose name is out of reach; for no name at all where any is."""
    if credential.prefixes and (subject is None or not credential.has_prefix(subject)):
        raise Problem("out-of-reach", "This credential is narrowed to work items of other names.")


def refuse_route(credential: Credential, *states: WorkItem | None) -> None:
    """Raises a ``Problem`` for a work item of another route than this credential's, or of none."""
    if not credential.may_see(*states):
        raise Problem("out-of-reach", "This credential is narrowed to work items of other routes.")


def refuse_scopes(credential: Credential, needed: Iterable[str]) -> None:
    """Raises a ``Problem`` where the credential has none of these scopes."""
    wanted = tuple(needed)
    if not credential.scopes & set(wanted):
        raise Problem("missing-scope", f"This needs the scope {' or '.join(wanted)}, which the credential has not.")


def refuse_event(credential: Credential, content: Mapping[str, Any], item: WorkItem | None) -> None:
    """Raises a ``Problem`` where a credential may not publish an event, beside what its actor is.

    ``item`` is the work item now, asked for only where the credential is narrowed by route. What others publish
    between this look and the recording is not seen: the ledger's own rules, not routes, keep work items whole.
    """
    kind = content.get("type")
    refuse_scopes(credential, [EVENT_SCOPES.get(kind, "publish") if isinstance(kind, str) else "publish"])
    subject = content.get("subject")
    refuse_subject(credential, subject if isinstance(subject, str) else None)
    if not credential.routes:
        return
    given = _route_of(content)
    if given is not None and given not in credential.routes:
        raise Problem("out-of-reach", f"This credential is narrowed to other routes than {given!r}.")
    is_new = item is None or not (item.executions or item.pauses)
    if given is None or not is_new:  # a work item that somebody has begun is not taken over by naming a route on it
        refuse_route(credential, item)


def _route_of(content: Mapping[str, Any]) -> Any:
    """The route that an event gives its work item; null for one whose type knows none: there it is only a word."""
    data = content.get("data")
    return data.get("route") if content.get("type") in _NAMING_A_ROUTE and isinstance(data, dict) else None
