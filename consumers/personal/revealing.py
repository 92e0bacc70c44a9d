"""What was sealed, shown again to whoever has the keys: only where it is asked for, and never kept anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ledger.personal import with_members
from ledger.sealing import Revealed, Sealing

Line = Mapping[str, Any]

_IN_PACKETS = ("trigger", "recheck", "no_resume_condition", "contract", "runtime", "pending_action")


def reveal_trail(sealing: Sealing, lines: Iterable[Line]) -> list[dict[str, Any]]:
    """A trail with its events opened as far as there are keys; ``personal`` says what became of each member."""
    shown = []
    for line in lines:
        event, found = _opened(sealing, line["event"])
        shown.append({**line, "event": event, "personal": [one.as_dict() for one in found]})
    return shown


def _opened(sealing: Sealing, event: Any) -> tuple[Any, list[Revealed]]:
    return sealing.reveal(event) if isinstance(event, dict) else (event, [])


def reveal_packet(sealing: Sealing, packet: Mapping[str, Any], trail: Iterable[Line]) -> dict[str, Any]:
    """A packet with its members opened as far as there are keys: what was sealed where is on the work item's trail."""
    known: dict[str, Revealed] = {}
    for line in trail:
        _, found = _opened(sealing, line["event"])
        known |= {one.sealed: one for one in found if isinstance(one.sealed, str)}
    shown, personal = dict(packet), []
    for name in _IN_PACKETS:
        for pointer, text in _strings(packet.get(name), f"/{name}"):
            if (found_one := known.get(text)) is not None:
                personal.append(found_one._replace(pointer=pointer))
    for one in personal:
        if one.state == "revealed":
            shown = _with(shown, one)
    return {**shown, "personal": [one.as_dict() for one in personal]}


def _with(packet: Mapping[str, Any], one: Revealed) -> dict[str, Any]:
    changed: dict[str, Any] = with_members(dict(packet), {one.pointer: one.value})
    return changed


def _strings(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every string inside a value, with its JSON Pointer."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _strings(member, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list | tuple):
        for number, member in enumerate(value):
            yield from _strings(member, f"{pointer}/{number}")
