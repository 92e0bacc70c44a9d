"""``POST /v1/events``: CloudEvents in, verdicts out. The server says who published them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from consumers.api.access import Credential, refuse_event
from consumers.api.binding import RawHeaders, binary_event, mode_of
from consumers.api.gate import caller_of
from consumers.api.problems import Problem, problem_of
from consumers.api.room import Room, room_of
from consumers.api.splice import actor_members, read_array, read_object, signed, with_members
from consumers.settings import Ledger
from ledger.errors import LedgerError
from ledger.json_text import write_json
from ledger.packet import WorkItem
from ledger.sending import Outcome, Publishable

BODY_SECONDS = 30.0

Read = tuple[Sequence[Mapping[str, Any]], Sequence[Publishable]]
"""What events say, and what is recorded of each."""


async def publish(request: Request) -> Response:
    """Record an event, or a batch of them, and answer with what became of it: a verdict each."""
    room, credential = room_of(request), caller_of(request).credential
    headers: RawHeaders = request.scope["headers"]
    mode = mode_of(headers)
    body = await _body(request, room.settings.api_body_bytes)
    if mode == "binary":
        content, event = await run_in_threadpool(binary_event, headers, body, credential)
        read: Read = [content], [event]
    else:
        read = await run_in_threadpool(
            _read, body, credential, room.settings.api_batch_events if mode == "batch" else None
        )
    await _refuse_any(room, credential, read[0], is_batch=mode == "batch")
    outcomes = await _published(room, read[1])
    return _many(outcomes) if mode == "batch" else _one(outcomes[0])


async def _body(request: Request, most: int) -> bytes:
    """The body. Raises a ``Problem`` where it is too large, by its own word or in truth, or does not come."""
    too_large = Problem("body-too-large", f"A body may have {most:,} bytes.", headers={"connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise Problem("too-slow", f"The body did not come within {BODY_SECONDS:g} s.") from None
    except ClientDisconnect:
        raise Problem("bad-event", "The client went away before its body had come.") from None
    return bytes(body)


def _read(body: bytes, credential: Credential, most_events: int | None) -> Read:
    """The events of a body in JSON, one or a batch, each with its actor."""
    if most_events is None:
        content = read_object(body)
        return [content], [with_members(body, actor_members(content, credential))]
    events = read_array(body)
    if len(events) > most_events:
        raise Problem("batch-too-large", f"A batch may have {most_events:,} events; this one has {len(events):,}.")
    return [content for content, _ in events], signed(events, credential)


async def _refuse_any(
    room: Room, credential: Credential, contents: Sequence[Mapping[str, Any]], *, is_batch: bool
) -> None:
    """Raises a ``Problem`` where one of the events may not be published: then none of them is."""
    subjects = {one for content in contents if isinstance(one := content.get("subject"), str) and one}
    items: dict[str, WorkItem | None] = {}
    if credential.routes and subjects:

        def ask(ledger: Ledger) -> dict[str, WorkItem | None]:
            return {subject: ledger.index.work_item(subject) for subject in subjects}

        items = await room.ask(room.quick, ask)
    for number, content in enumerate(contents):
        subject = content.get("subject")
        try:
            refuse_event(credential, content, items.get(subject) if isinstance(subject, str) else None)
        except Problem as problem:
            if not is_batch:
                raise
            raise Problem(problem.kind, problem.detail, index=number) from None


async def _published(room: Room, events: Sequence[Publishable]) -> list[Outcome]:
    """What became of events. Submitted in a thread, since a full queue makes it wait; awaited in none."""
    answers = await run_in_threadpool(lambda: room.pressroom.publisher().submit_all(events))
    return await asyncio.shield(asyncio.wrap_future(answers))


def _one(outcome: Outcome) -> Response:
    if isinstance(outcome, LedgerError):
        raise outcome
    body = write_json(outcome.as_dict())
    if outcome.verdict == "unknown":
        return Response(body, 202, {"retry-after": "1"}, "application/json")
    return Response(body, media_type="application/json")


def _many(outcomes: Sequence[Outcome]) -> Response:
    """A list, in order; in the place of an event that could never be recorded, the problem with it."""
    problems = {one: problem_of(one).as_dict() for one in outcomes if isinstance(one, LedgerError)}
    content = [problems[one] if isinstance(one, LedgerError) else one.as_dict() for one in outcomes]
    return Response(write_json(content), media_type="application/json")
