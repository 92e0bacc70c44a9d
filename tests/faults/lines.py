"""Events as lines of JSON, as any publisher would write them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DANA = "user:dana"
REFUND = {"kind": "payment", "name": "refund", "target": "order/7", "arguments": {"cents": 500}}


def event(name: str, data: object, **attributes: Any) -> dict[str, Any]:
    """A CloudEvent of the ledger on the work item T-1, unless told otherwise."""
    content = {"specversion": "1.0", "id": "e-1", "source": "/runtime", "subject": "T-1"}
    return content | {"type": f"pauseledger.{name}"} | attributes | {"data": data}


def line(name: str, data: object, **attributes: Any) -> bytes:
    """The same as one line of JSON."""
    return json.dumps(event(name, data, **attributes)).encode()


def note(number: int, subject: str = "T-1") -> bytes:
    """A fact that changes nothing."""
    return line("note.added", {"text": f"note {number}"}, id=f"note-{number}", subject=subject)


def opened(pause: str = "p1", **members: Any) -> dict[str, Any]:
    """The data of a pause that may be resumed for an hour."""
    ready = {"owner": DANA, "pending_action": REFUND, "fresh_for": "PT1H", "side_effect": "not_happened"}
    return {"execution": "run-1", "pause": pause, **ready, **members}


def pause(**members: Any) -> bytes:
    """The line that opens such a pause, on T-1."""
    return line("pause.opened", opened(**members), id="open-1")


def resume(name: str = "resume-1", pause: str = "p1") -> bytes:
    """The line that asks to resume it, by its owner."""
    digest = "sha256:3ba9f9c80cf8e54c72d64aeb90288dcd593348964d9ca0681bf8041316f546f0"
    data = {"execution": "run-1", "pause": pause, "action_digest": digest}
    return line("resume.requested", data, id=name, actor=DANA)


def day(count: int, work_items: int = 200, first: int = 0) -> Iterator[bytes]:
    """So many lines of a busy day: each work item, from ``first`` on, pauses, beats its heart, is annotated."""
    for number in range(count):
        turn, item = divmod(number, work_items)
        subject = f"T-{first + item}"
        data: dict[str, Any] = {"execution": "run-1", "pause": f"p{turn // 8}"}
        if turn % 8 == 0:
            data |= opened(f"p{turn // 8}", heartbeat_timeout="PT1H")
            yield line("pause.opened", data, id=f"d{number}", subject=subject)
        elif turn % 8 == 7:
            data |= {"outcome": "abandoned"}
            yield line("pause.closed", data, id=f"d{number}", subject=subject, actor=DANA)
        elif turn % 2:
            yield line("heartbeat.recorded", data, id=f"d{number}", subject=subject, actor=DANA)
        else:
            yield note(number, subject)
