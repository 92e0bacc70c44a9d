"""The CloudEvents HTTP binding: which mode a request is in, and binary mode's headers as those of a record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from consumers.api.access import Credential
from consumers.api.problems import Problem
from consumers.api.splice import actor_members
from ledger.cloudevents import content_of
from ledger.record import Record
from ledger.sending import BinaryEvent

Mode = Literal["structured", "batch", "binary"]
RawHeaders = Sequence[tuple[bytes, bytes]]

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_PREFIX = b"ce-"
_CHARSET = re.compile(r'charset\s*=\s*"?([^";\s]+)', re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def mode_of(headers: RawHeaders) -> Mode:
    """In which mode an event comes. Raises a ``Problem`` where it is none."""
    content_type = _only(headers, b"content-type") or ""
    if (_only(headers, b"content-encoding") or "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "A content encoding is not undone here: send the plain body.")
    media, _, parameters = content_type.partition(";")
    media = media.strip().lower()
    if media in (STRUCTURED, BATCH):
        charset = _CHARSET.search(parameters)
        if charset is not None and charset[1].lower() not in ("utf-8", "us-ascii"):
            raise Problem("unsupported-media-type", f"JSON is UTF-8, not {charset[1]}.")
        return "structured" if media == STRUCTURED else "batch"
    if not media.startswith("application/cloudevents") and any(name.startswith(_PREFIX) for name, _ in headers):
        return "binary"
    raise Problem("unsupported-media-type", f"The content type is {media or 'missing'}, and no ce- header is there.")


def _only(headers: RawHeaders, wanted: bytes) -> str | None:
    found = [value for name, value in headers if name == wanted]
    if len(found) > 1:
        raise Problem("bad-event", f"The header {wanted.decode()} is there twice.")
    return found[0].decode("latin-1").strip() if found else None


def attribute_value(header: str) -> str:
    """The value of an attribute (HTTP binding, 3.1.3.2): out of its quotes, then percent-decoded once, then UTF-8.

    Raises ``ValueError``.
    """
    if len(header) >= 2 and header[0] == header[-1] == '"':
        header = _ESCAPED.sub(r"\1", header[1:-1])
    return unquote_to_bytes(header.encode("latin-1")).decode("utf-8")


def binary_event(headers: RawHeaders, body: bytes, credential: Credential) -> tuple[Mapping[str, Any], BinaryEvent]:
    """What an event in binary mode says, and the record of it, in the binary mode of the Kafka binding.

    Raises a ``Problem`` for a header that can't be read, or is there twice, and for another's actor.
    """
    kept: list[tuple[str, bytes | None]] = []
    for name, _ in headers:
        if not name.startswith(_PREFIX):
            continue
        text = _only(headers, name)
        attribute = name[len(_PREFIX) :].decode("latin-1")
        try:
            kept.append((f"ce_{attribute}", attribute_value(text or "").encode()))
        except ValueError:
            raise Problem("bad-event", f"The header {name.decode('latin-1')} is not percent-encoded UTF-8.") from None
    if (content_type := _only(headers, b"content-type")) is not None:
        kept.append(("content-type", content_type.encode("latin-1")))
    content = content_of(Record(0, 0, 0, None, body, tuple(kept)))
    added = [(f"ce_{name}", value.encode()) for name, value in actor_members(content, credential).items()]
    return content, BinaryEvent(body, (*kept, *added))
