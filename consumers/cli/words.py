"""What people read of a verdict, in words: the lines of ``publish``, the columns of a trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.evidence.visible import as_text
from ledger.sending import Answer

_PREFIX = "pauseledger."


def counted(number: int, one: str, many: str = "") -> str:
    """So many of something."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def ruling(line: Mapping[str, Any]) -> str:
    """Verdict and code, without saying the same twice."""
    verdict: str = line["verdict"]
    return verdict if line["code"] in ("ok", verdict) else f"{verdict} {line['code']}"


def kind(name: str | None) -> str:
    """An event's type without the prefix that all have."""
    return "-" if name is None else name.removeprefix(_PREFIX)


def said(event: Mapping[str, Any] | None) -> str:
    """Of which pause, what was decided or seen, and who said it."""
    if event is None:
        return "(no JSON)"
    data = event.get("data")
    data = data if isinstance(data, dict) else {}
    words = [
        data.get("pause") or data.get("execution"),
        data.get("outcome") or data.get("status"),
        event.get("actor") and f"by {event['actor']}",
    ]
    return " ".join(str(word) for word in words if word)


def note(line: Mapping[str, Any]) -> str:
    """What else there is to say: the fence of a permission, the reason of anything but an acceptance."""
    if line["verdict"] != "accepted":
        return str(line["reason"])
    until = f", act before {line['valid_until']}" if "valid_until" in line else ""
    return f"fence {line['fence']}{until}" if "fence" in line else ""


def verdict_line(answer: Answer) -> bytes:
    """One verdict of ``publish``, aligned: verdict, entry, work item, type; the reason where it was not accepted."""
    content = answer.as_dict()
    place = "-" if content["partition"] is None else f"{content['partition']}:{content['offset']}"
    columns = ((ruling(content), 28), (place, 8), (content["subject"] or "-", 14), (kind(content["type"]), 22))
    words = "  ".join(f"{text:<{width}}" for text, width in columns)
    return as_text(f"{words}  {note(content)}".rstrip()).encode() + b"\n"
