"""The routes of one work item: what the ledger says of it, now or then."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import Request, Response

from consumers.api.access import Credential, refuse_route, refuse_subject
from consumers.api.gate import caller_of
from consumers.api.room import (
    At,
    PauseName,
    Subject,
    item_for,
    now,
    room_of,
)
from consumers.settings import Ledger
from ledger.entries import replayed
from ledger.index import Index
from ledger.json_text import write_json
from ledger.packet import WorkItem
from projections.answers import (
    decision_answer,
    decisions_answer,
    packet_answer,
    trail_answer,
    work_item_answer,
)


async def work_item(request: Request, subject: Subject, at: At = None) -> Response:
    """A work item: whose it is, its executions and its pauses."""
    credential = _reaching(request, subject)
    room = room_of(request)

    def ask(ledger: Ledger) -> bytes:
        return write_json(work_item_answer(item_for(ledger, credential, subject, at), subject))

    return _json(await room.ask(room.quick if at is None else room.slow, ask))


async def decisions(request: Request, subject: Subject, at: At = None) -> Response:
    """The decisions of the work item's pauses, in the order opened: which way each goes, and why."""
    credential = _reaching(request, subject)
    room = room_of(request)

    def ask(ledger: Ledger) -> bytes:
        item = item_for(ledger, credential, subject, at)
        return write_json(decisions_answer(item, now=now(), at=at))

    return _json(await room.ask(room.quick if at is None else room.slow, ask))


async def trail(request: Request, subject: Subject, at: At = None) -> Response:
    """Every entry that names the work item, malformed ones too, with its verdict, oldest first."""
    credential = _reaching(request, subject)
    room = room_of(request)

    def ask(ledger: Ledger) -> bytes:
        item_for(ledger, credential, subject, at)
        if credential.routes:  # a trail tells of every state: all of them must be in reach
            refuse_route(credential, *_history(ledger.index, subject))
        return write_json(trail_answer(ledger.index, ledger.indexer.identity.partitions, subject, at=at))

    return _json(await room.ask(room.slow, ask))


async def packet(request: Request, subject: Subject, pause: PauseName, at: At = None) -> Response:
    """The packet of a pause: what was about to happen, whose it is, how long it holds, what became of it."""
    credential = _reaching(request, subject)
    room = room_of(request)

    def ask(ledger: Ledger) -> bytes:
        return write_json(packet_answer(item_for(ledger, credential, subject, at), subject, pause))

    return _json(await room.ask(room.quick if at is None else room.slow, ask))


async def decision(request: Request, subject: Subject, pause: PauseName, at: At = None) -> Response:
    """The decision of one pause."""
    credential = _reaching(request, subject)
    room = room_of(request)

    def ask(ledger: Ledger) -> bytes:
        item = item_for(ledger, credential, subject, at)
        return write_json(decision_answer(item, subject, pause, now=now(), at=at))

    return _json(await room.ask(room.quick if at is None else room.slow, ask))


def _history(index: Index, subject: str) -> Iterator[WorkItem]:
    """A work item after each of its entries."""
    item: WorkItem | None = None
    for entry in index.entries(subject):
        item = replayed(item, entry)
        yield item


def _reaching(request: Request, subject: str) -> Credential:
    credential = caller_of(request).credential
    refuse_subject(credential, subject)
    return credential


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")
