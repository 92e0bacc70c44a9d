"""The routes that list: what the whole ledger says, now or then, as far as the credential reaches."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request, Response

from consumers.api.gate import caller_of
from consumers.api.pages import Wanted, page
from consumers.api.room import At, json_response, now, room_of

Cursor = Annotated[str | None, Query(max_length=4_096, description="Where to go on: the `next` of the page before.")]
Limit = Annotated[int, Query(ge=1, le=500, description="The most rows of a page.")]
Owner = Annotated[str | None, Query(description="Only what belongs to this owner.", examples=["role:ops"])]
Prefix = Annotated[str, Query(description="Only work items whose name starts so.", examples=["T-"])]
Branch = Annotated[
    Literal["resume", "review", "reconcile", "settle", "terminate", "closed"] | None,
    Query(description="Only this branch; without, those of all open pauses."),
]


async def _listed(request: Request, name: str, wanted: Wanted, cursor: str | None, limit: int) -> Response:
    room, credential = room_of(request), caller_of(request).credential
    instant = now()
    return json_response(
        await room.ask(room.slow, lambda ledger: page(ledger, credential, name, wanted, cursor, limit, instant))
    )


async def work_items(
    request: Request,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """The work items, by name: whose each is, when it was last heard of, how many pauses are open."""
    return await _listed(request, "work-items", Wanted(at, owner, None, prefix), cursor, limit)


async def decisions(
    request: Request,
    branch: Branch = None,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """The decisions of all open pauses, or of those of one branch."""
    return await _listed(request, "decisions", Wanted(at, owner, branch, prefix), cursor, limit)


async def inbox(
    request: Request,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """What needs a person. By the name of the work item; `pauseledger inbox` puts the most urgent first."""
    return await _listed(request, "inbox", Wanted(at, owner, None, prefix), cursor, limit)


async def debts(
    request: Request,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """The outcomes that nobody knows: who owes each, since when, and by when."""
    return await _listed(request, "debts", Wanted(at, owner, None, prefix), cursor, limit)


async def deadlines(
    request: Request,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """The deadlines of open pauses and of debts, and which have passed."""
    return await _listed(request, "deadlines", Wanted(at, owner, None, prefix), cursor, limit)


async def owners(
    request: Request,
    at: At = None,
    owner: Owner = None,
    prefix: Prefix = "",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Who owns what: each execution of each work item, its role and its owner."""
    return await _listed(request, "owners", Wanted(at, owner, None, prefix), cursor, limit)
