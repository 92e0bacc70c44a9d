"""Putting an actor into an event without writing the event again.

What came is recorded byte for byte: numbers keep their digits, members their order. Only where the event does not name
its actor yet, the two members are put before the closing brace; of a member that is named twice the last counts
(protocol, section 2), so the server's word stands.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from consumers.api.access import Credential
from consumers.api.problems import Problem
from ledger.json_text import read_json, write_json

_WHITE = b" \t\r\n"
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def read_object(body: bytes) -> dict[str, Any]:
    """The event in a body. Raises a ``Problem`` where it is no JSON object: nothing that could get an actor."""
    content = _read(body)
    if not isinstance(content, dict):
        raise Problem("bad-event", "The body is JSON, but no object.")
    return content


def read_array(body: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """The events in a body, each with the bytes of it. Raises a ``Problem`` where it is no array of objects."""
    contents = _read(body)
    if not isinstance(contents, list):
        raise Problem("bad-event", "The body is JSON, but no array.")
    for number, content in enumerate(contents):
        if not isinstance(content, dict):
            raise Problem("bad-event", f"Element {number} of the batch is no object.", index=number)
    return list(zip(contents, elements(body), strict=True))


def _read(body: bytes) -> Any:
    try:
        return read_json(body)
    except (ValueError, RecursionError) as error:
        raise Problem("bad-event", f"The body is no JSON: {error}.") from None


def elements(array: bytes) -> list[bytes]:
    """The bytes of each element of an array that is known to be JSON, without the white space around it."""
    found, level, began = [], 0, 0
    for mark in _MARKS.finditer(array):
        what = mark[0]
        if what in (b"[", b"{"):
            level += 1
            began = mark.end() if level == 1 else began
        elif what in (b"]", b"}"):
            level -= 1
        if (what == b"," and level == 1) or (what == b"]" and level == 0):
            found.append(array[began : mark.start()].strip(_WHITE))
            began = mark.end()
    return [] if found == [b""] else found


def _roles(value: str) -> set[str]:
    return {role.strip(" ") for role in value.split(",")} - {""}  # only spaces, as the fold does


def actor_members(content: Mapping[str, Any], credential: Credential) -> dict[str, str]:
    """What must be added to an event, so that it says who published it.

    Raises a ``Problem`` where it says that somebody else did.
    """
    if credential.actor is None:
        return {}
    added: dict[str, str] = {}
    actor, roles = content.get("actor"), content.get("actorroles")
    if actor is None:
        added["actor"] = credential.actor
    elif actor != credential.actor:
        raise Problem("another-actor", f"The event's actor is not {credential.actor!r}, who sends it.")
    if roles is None:
        added |= {"actorroles": ",".join(credential.roles)} if credential.roles else {}
    elif not isinstance(roles, str) or _roles(roles) != set(credential.roles):
        raise Problem("another-actor", f"The event's actorroles are not those of {credential.actor!r}.")
    return added


def with_members(text: bytes, members: Mapping[str, str]) -> bytes:
    """A JSON object with members put in before its closing brace, and not a byte of it changed."""
    if not members:
        return text
    end = text.rindex(b"}")
    is_empty = text[:end].rstrip(_WHITE).endswith(b"{") and text[:end].strip(_WHITE) == b"{"
    return text[:end] + (b"" if is_empty else b",") + write_json(dict(members))[1:-1] + text[end:]


def signed(events: Sequence[tuple[dict[str, Any], bytes]], credential: Credential) -> list[bytes]:
    """Events with their actor, as they are recorded. Raises a ``Problem`` that says which one claims another."""
    lines = []
    for number, (content, text) in enumerate(events):
        try:
            lines.append(with_members(text, actor_members(content, credential)))
        except Problem as problem:
            raise Problem(problem.kind, problem.detail, index=number) from None
    return lines
