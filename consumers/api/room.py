"""What the routes share: the desks, the publisher, the streams; and how an answer is made of what a desk says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import unquote

from fastapi import Path, Query, Request, Response
from pydantic import AfterValidator, BeforeValidator

from consumers.api.access import Credential, refuse_route
from consumers.api.desk import Desk
from consumers.api.live import Live
from consumers.api.pressroom import Pressroom
from consumers.publishing import open_publisher
from consumers.settings import Ledger, Settings
from ledger.json_text import write_json
from ledger.packet import WorkItem
from ledger.publisher import Publisher
from ledger.times import parse_instant

T = TypeVar("T")


class Room:
    """What a server has opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.quick = Desk(settings, "quick-desk")
        self.slow = Desk(settings, "slow-desk", tells_each=True)
        self.live = Live(settings.api_streams)
        self.pressroom = Pressroom(self._open_publisher)

    def _open_publisher(self) -> Publisher:
        return open_publisher(
            self.settings.log_url,
            index_url=self.settings.index_url,
            outbox=self.settings.api_outbox,
            deadline_seconds=self.settings.api_publish_seconds,
            personal_keys=self.settings.personal_keys,
            personal_store_key=self.settings.personal_store_key,
        )

    def close(self) -> None:
        """End the streams, answer what waits for a verdict, close what was opened."""
        self.live.stop()
        self.pressroom.close()
        self.quick.close()
        self.slow.close()

    async def ask(self, desk: Desk, ask: Callable[[Ledger], T]) -> T:
        return await desk.ask(ask, seconds=self.settings.api_read_seconds)


def room_of(request: Request) -> Room:
    room: Room = request.app.state.room
    return room


def now() -> datetime:
    return datetime.now(UTC)


def _decoded(text: str) -> str:
    """A part of a path, which was routed as it came: ``%2F`` is a part of the name, and no step of the path."""
    return unquote(text, errors="strict") if "%" in text else text


def _instant(text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text)


Subject = Annotated[
    str, AfterValidator(_decoded), Path(description="The work item, percent-encoded.", examples=["T-7"])
]
PauseName = Annotated[str, AfterValidator(_decoded), Path(description="The pause, percent-encoded.", examples=["p1"])]
At = Annotated[
    datetime | None,
    BeforeValidator(_instant),
    Query(description="Time travel: what the ledger said then. RFC 3339.", examples=["2026-03-28T12:00:00Z"]),
]


def json_response(content: Any) -> Response:
    return Response(write_json(content), media_type="application/json")


def item_for(ledger: Ledger, credential: Credential, subject: str, at: datetime | None) -> WorkItem | None:
    """A work item, now or then, as far as the credential reaches. Raises a ``Problem``.

    One that is narrowed by route is asked for the work item as it is now, too: what was of another route then may be
    shown to whom it belongs to, and to nobody else.
    """
    item = ledger.index.work_item(subject, at=at)
    if credential.routes:
        refuse_route(credential, item, ledger.index.work_item(subject))
    return item
