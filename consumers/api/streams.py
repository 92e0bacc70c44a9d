"""Server-sent events: decisions as they change, of all work items in reach or of one.

1. The id of an event is a stand: the next offset of each partition, ``-`` between, ``@``, and an instant in
   milliseconds. Whoever comes back with ``Last-Event-ID`` gets all that has changed since, from the index. What was on
   its way when he left may come twice, never not at all.
2. A stream that has nothing to tell says so every 15 s, with its newest stand: so it never goes on from far back.
3. It ends when the server does, and when its credential does.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from consumers.api.access import Credential, refuse_subject
from consumers.api.gate import Admitted, Gate, caller_of
from consumers.api.live import Place
from consumers.api.problems import Problem
from consumers.api.room import Room, Subject, item_for, room_of
from consumers.settings import Ledger
from ledger.errors import LedgerError
from ledger.json_text import write_json
from ledger.packet import WorkItem
from ledger.times import from_milliseconds, to_milliseconds
from projections.turns import Stand, Turn, turns

ALIVE_SECONDS = 15.0
CREDENTIALS_SHARE = 0.5
"""So much of all streams may be one credential's: it can't shut out the others."""
LOOK_AGAIN_SECONDS = 0.25
_ID = re.compile(r"([0-9]{1,19}(?:-[0-9]{1,19})*)@([0-9]{1,15})", re.ASCII)

LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=65_536, description="The id of the last event received.")
]
From = Annotated[
    str | None, Query(alias="last_event_id", max_length=65_536, description="The same, for who can't send the header.")
]


def id_of(stand: Stand) -> str:
    return f"{'-'.join(str(offset) for offset in stand.offsets)}@{to_milliseconds(stand.instant)}"


def stand_of(text: str, ends: Sequence[int]) -> Stand:
    """The inverse of :func:`id_of`. Raises a ``Problem`` for an id that this ledger has never given."""
    match = _ID.fullmatch(text)
    offsets = () if match is None else tuple(int(one) for one in match[1].split("-"))
    if match is None or len(offsets) != len(ends) or any(one > end for one, end in zip(offsets, ends, strict=True)):
        raise Problem("bad-cursor", "This is no id of an event of this ledger.")
    return Stand(offsets, min(from_milliseconds(int(match[2])), _whole_second()))


def _whole_second() -> datetime:
    """Time in the steps of streams: all that look in the same second ask the same."""
    return datetime.fromtimestamp(int(time.time()), UTC)


def _ends(ledger: Ledger) -> list[int]:
    return [ledger.indexer.position(one).next_offset for one in range(ledger.indexer.identity.partitions)]


def _event(turn: Turn) -> bytes:
    return b"id: %b\nevent: decision\ndata: %b\n\n" % (id_of(turn.stand).encode(), write_json(turn.as_dict()))


def _alive(stand: Stand) -> bytes:
    """A comment, and the id alone, which a client keeps without dispatching an event."""
    return b": alive\nid: %b\n\n" % id_of(stand).encode()


async def all_decisions(request: Request, last_event_id: LastEventId = None, last: From = None) -> Response:
    """Decisions as they change, of all work items in reach (text/event-stream)."""
    return await _stream(request, last_event_id or last, None)


async def decisions(
    request: Request, subject: Subject, last_event_id: LastEventId = None, last: From = None
) -> Response:
    """Decisions of one work item as they change (text/event-stream)."""
    refuse_subject(caller_of(request).credential, subject)
    return await _stream(request, last_event_id or last, subject)


async def _stream(request: Request, last: str | None, subject: str | None) -> Response:
    room, caller = room_of(request), caller_of(request)
    gate: Gate = request.app.state.gate
    place = room.live.take(caller.credential.name, share=1.0 if gate.is_open else CREDENTIALS_SHARE)

    def ask(ledger: Ledger) -> Stand:
        if subject is not None:
            item_for(ledger, caller.credential, subject, None)
        ends = _ends(ledger)
        return Stand(tuple(ends), _whole_second()) if last is None else stand_of(last, ends)

    try:
        stand = await room.ask(room.slow, ask)
        return _Stream(_told(request, room, caller, stand, subject), place)
    except BaseException:
        place.leave()
        raise


class _Stream(StreamingResponse):
    """An answer that keeps its place until it has ended: also where the client was gone before the first byte."""

    def __init__(self, body: AsyncIterator[bytes], place: Place) -> None:
        super().__init__(body, media_type="text/event-stream", headers={"cache-control": "no-store"})
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._place.leave()


async def _told(
    request: Request, room: Room, caller: Admitted, stand: Stand, subject: str | None
) -> AsyncIterator[bytes]:
    """The events of one stream."""
    gate: Gate = request.app.state.gate
    yield _alive(stand)
    told_at = time.monotonic()
    while not room.live.is_stopped and not await request.is_disconnected():
        try:
            found, reached = await room.ask(
                room.slow,
                lambda ledger, since=stand: _step(  # type: ignore[misc]
                    ledger, caller.credential, since, subject
                ),
            )
        except (Problem, LedgerError):
            return  # the client comes back with its last id, and is told what is wrong
        for turn in found:
            yield _event(turn)
        is_behind = reached.offsets != stand.offsets
        stand = reached
        if time.monotonic() - told_at > ALIVE_SECONDS:
            if not await gate.still(request, caller):
                return
            yield _alive(stand)
            told_at = time.monotonic()
        if not is_behind:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


def _step(ledger: Ledger, credential: Credential, since: Stand, subject: str | None) -> tuple[list[Turn], Stand]:
    present: dict[str, WorkItem | None] = {}

    def sight(item: WorkItem) -> bool:
        if not credential.has_prefix(item.subject):
            return False
        if not credential.routes:
            return True
        if item.subject not in present:  # as every read of the past: it must be in reach as it is, too
            present[item.subject] = ledger.index.work_item(item.subject)
        return credential.may_see(item, present[item.subject])

    return turns(ledger.index, since, _ends(ledger), _whole_second(), sight, subject)
