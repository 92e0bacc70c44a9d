"""Whether the server lives, whether it is ready, how it stands; and what its problems mean."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Path, Request, Response
from starlette.concurrency import run_in_threadpool

from consumers.api.problems import KINDS, Problem
from consumers.api.room import json_response, room_of
from consumers.settings import Ledger

_SEEN_SECONDS = 15.0


async def healthz() -> Response:
    """The process lives. Says nothing of the log."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Log and index answer, the index does not lag, and the publisher works."""
    room = room_of(request)
    standing = room.quick.standing
    most = room.settings.api_ready_lag
    if standing.trouble is not None:
        raise Problem("not-ready", "The log or the index does not answer; the server's log says more.")
    if standing.behind > most:
        raise Problem("not-ready", f"The index lags {standing.behind:,} entries behind the log; {most:,} may be.")
    if time.monotonic() - standing.seen_at > _SEEN_SECONDS:
        raise Problem("not-ready", "The index has not caught up with the log yet.")
    if await run_in_threadpool(lambda: room.pressroom.trouble) is not None:  # in a thread: it may open another
        raise Problem("not-ready", "The publisher was ended by an error; the server's log says more.")
    if room.live.is_stopped:
        raise Problem("not-ready", "The server is shutting down.")
    return json_response({"status": "ready"})


async def status(request: Request) -> Response:
    """How the server stands: versions, positions, what waits. For whoever runs it."""
    room = room_of(request)

    def ask(ledger: Ledger) -> dict[str, Any]:
        identity = ledger.indexer.identity
        positions = [ledger.indexer.position(one).next_offset for one in range(identity.partitions)]
        return {"topic": identity.topic, "topic_id": identity.topic_id, "positions": positions}

    content = await room.ask(room.quick, ask)
    waiting = {"streams": room.live.count, "outbox": room.pressroom.current.waiting}
    return json_response({"version": version("pauseledger"), "log": content, **waiting})


async def problem(name: Annotated[str, Path(description="The last part of a problem's type.")]) -> Response:
    """What a kind of problem means, and what to do about it."""
    if name not in KINDS:
        raise Problem("not-found", "There is no such kind of problem.")
    return json_response({"type": f"/problems/{name}", **KINDS[name]._asdict()})
